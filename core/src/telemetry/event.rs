//! What events measure, each under its domain (`user` of `user.updated`).

use super::Metric;
use super::metric::catalogue;

catalogue! {
    PUBLISHED = counter("stanchion_event_published_total", "Events that the bus has taken.").labels(&["domain"]);
    PUBLISH_FAILURES = counter(
        "stanchion_event_publish_failures_total",
        "Events that could not be published, or of which nobody knows."
    ).labels(&["domain"]);
    DELIVERED = counter("stanchion_event_delivered_total", "Events that were handed to a subscriber.").labels(&["domain"]);
    DROPPED = counter(
        "stanchion_event_dropped_total",
        "Events that a slow subscriber missed, because its buffer was full."
    ).labels(&["domain"]);
    GAPS = counter(
        "stanchion_event_gaps_total",
        "Reconnections of a subscription, and ends that nobody asked for: events may have been missed, nobody knows how many."
    ).labels(&["domain"]);
    MALFORMED = counter(
        "stanchion_event_malformed_total",
        "What was received and can't be read: not an event, or not its payload."
    ).labels(&["domain"]);
    SUBSCRIBERS = gauge("stanchion_event_subscribers", "Subscriptions of this process that are open now.").labels(&["domain"]);
}
