//! How a check is printed and waits for what it expects.
use std::fmt::Debug;
use std::time::{Duration, Instant};

use dapr::client::{InvokeServiceRequest, TonicClient, TonicClientWithAuth};
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest, http_extension::Verb};
use serde_json::Value;

use crate::{Failure, Outcome};

/// The two clients of the crate: its own, and the generated one with all that the first leaves out.
pub struct Clients {
    pub sdk: dapr::Client<TonicClientWithAuth>,
    pub raw: TonicClient,
}

pub const DEADLINE: Duration = Duration::from_secs(15);

pub fn report(name: &str, outcome: Outcome) {
    match outcome {
        Ok(()) => println!("ok {name}"),
        Err(error) => {
            let text: String = error.to_string().replace('\n', " ").chars().take(500).collect();
            println!("not ok {name}: {text}");
        }
    }
}

pub fn skip(name: &str, reason: &str) {
    println!("skip {name}: {reason}");
}

pub fn same<A: Debug + PartialEq<B>, B: Debug>(found: A, wanted: B) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    Err(format!("got {found:?}, wanted {wanted:?}").into())
}

/// The call has to be refused with this status; the SDK's error shows it in its text only.
pub fn refused<T, E: Debug>(result: Result<T, E>, status: &str) -> Outcome {
    match result {
        Err(error) if format!("{error:?}").contains(status) => Ok(()),
        Err(error) => Err(format!("wanted {status}, got {error:?}").into()),
        Ok(_) => Err(format!("wanted {status}, the call was answered").into()),
    }
}

impl Clients {
    /// Waits until both apps got an event exactly once.
    pub async fn arrived(&mut self, route: &str, is_it: impl Fn(&Value) -> bool) -> Outcome {
        for app in ["http-app", "grpc-app"] {
            let deadline = Instant::now() + DEADLINE;
            loop {
                let events = self.received_by(app).await?;
                let count =
                    events.iter().filter(|event| event["route"] == route && is_it(&event["data"])).count();
                match count {
                    1 => break,
                    0 if Instant::now() > deadline => {
                        return Err(format!("waited 15 s for the event at {app}").into());
                    }
                    0 => tokio::time::sleep(Duration::from_millis(50)).await,
                    _ => return Err(format!("{app} got the event {count} times").into()),
                }
            }
        }
        Ok(())
    }

    async fn received_by(&mut self, app: &str) -> Result<Vec<Value>, Failure> {
        let value = if app == "grpc-app" {
            self.sdk.invoke_service(app, "received", None).await?.data.unwrap_or_default().value
        } else {
            self.invoke_http(app, "received", Verb::Get, Vec::new()).await?
        };
        Ok(serde_json::from_slice(&value)?)
    }

    /// Invokes an HTTP app: the SDK's own client cannot name the verb.
    pub async fn invoke_http(
        &mut self,
        app: &str,
        method: &str,
        verb: Verb,
        value: Vec<u8>,
    ) -> Result<Vec<u8>, tonic::Status> {
        let message = InvokeRequest {
            method: method.to_string(),
            data: Some(prost_types::Any { type_url: String::new(), value }),
            content_type: "application/json".to_string(),
            http_extension: Some(HttpExtension { verb: verb as i32, querystring: String::new() }),
        };
        let request = InvokeServiceRequest { id: app.to_string(), message: Some(message) };
        let reply = self.raw.invoke_service(request).await?.into_inner();
        Ok(reply.data.unwrap_or_default().value)
    }
}
