//! backend-redis
