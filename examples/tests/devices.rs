//! Where a user is logged in: seen, ended one by one or all but one's own, and given another secret.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::serving;

const PASSWORD: &str = "correct horse battery staple";

struct Service {
    http: Client,
    port: u16,
}

impl Service {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://127.0.0.1:{}{path}", self.port))
    }

    async fn log_in(&self, device: &str) -> Value {
        let body = json!({ "login": "mary", "password": PASSWORD, "device": device });
        expect(200, self.request(Method::POST, "/login").json(&body)).await
    }

    fn by(&self, who: &Value, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(who["token"].as_str().unwrap())
    }

    async fn devices(&self, who: &Value) -> Vec<Value> {
        expect(200, self.by(who, Method::GET, "/sessions")).await.as_array().unwrap().clone()
    }
}

async fn expect(status: u16, request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let (actual, body) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert_eq!(actual, status, "{body}");
    serde_json::from_str(&body).unwrap_or_default()
}

fn labels(devices: &[Value]) -> Vec<&str> {
    devices.iter().map(|device| device["device"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_see_and_end_where_they_are_logged_in() {
    let (_child, ports) = serving(&[]).await;
    let service = Service { http: Client::builder().no_proxy().build().unwrap(), port: ports[0] };
    let mary = json!({ "login": "mary", "password": PASSWORD, "name": "Mary", "city": "Paris" });
    expect(201, service.request(Method::POST, "/register").json(&mary)).await;
    let (laptop, phone) = (service.log_in("laptop").await, service.log_in("phone").await);
    let (tablet, stolen) = (service.log_in("tablet").await, service.log_in("stolen").await);

    let devices = service.devices(&laptop).await;
    assert_eq!(labels(&devices), ["stolen", "tablet", "phone", "laptop"]);
    for device in &devices {
        assert_eq!(device["address"], "127.0.0.1");
        assert!(device["last_used"].as_str().unwrap() >= device["since"].as_str().unwrap(), "{device}");
        assert_eq!(device["this_one"], device["device"] == "laptop");
    }

    // One of them, and with it what was issued within it.
    let path = format!("/sessions/{}", devices[0]["id"].as_str().unwrap());
    expect(204, service.by(&laptop, Method::DELETE, &path)).await;
    expect(404, service.by(&laptop, Method::DELETE, &path)).await;
    expect(404, service.by(&laptop, Method::DELETE, "/sessions/nonsense")).await;
    expect(401, service.by(&stolen, Method::GET, "/me")).await;
    expect(200, service.by(&phone, Method::GET, "/me")).await;

    // Another secret: the tokens of before are revoked, and of two rotations one is done.
    let rotate = || service.request(Method::POST, "/rotate");
    let rotated = expect(200, rotate().bearer_auth(phone["session"].as_str().unwrap())).await;
    assert_ne!(rotated["session"], phone["session"]);
    expect(401, service.by(&phone, Method::GET, "/me")).await;
    expect(200, service.by(&rotated, Method::GET, "/me")).await;
    expect(409, rotate().bearer_auth(phone["session"].as_str().unwrap())).await;
    expect(401, rotate().bearer_auth("nobody's")).await;
    assert_eq!(labels(&service.devices(&laptop).await), ["tablet", "phone", "laptop"]);

    // All but the caller's own.
    let ended = expect(200, service.by(&rotated, Method::DELETE, "/sessions/others")).await;
    assert_eq!(ended["ended"], 2);
    for gone in [&laptop, &tablet] {
        expect(401, service.by(gone, Method::GET, "/me")).await;
    }
    assert_eq!(labels(&service.devices(&rotated).await), ["phone"]);
}
