use dapr::dapr::proto::common::v1::http_extension::Verb;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use crate::Outcome;
use crate::checks::{Clients, DEADLINE, refused, report, same};
use crate::greeter::GreeterClient;

pub async fn run(clients: &mut Clients) {
    report("invoke-http", invoke_http(clients).await);
    report("invoke-http-without-verb", without_verb(clients).await);
    report("invoke-error", invoke_error(clients).await);
    report("invoke-grpc", invoke_grpc(clients).await);
    report("invoke-proxy", invoke_proxy().await);
}

async fn invoke_http(clients: &mut Clients) -> Outcome {
    let reply = clients.invoke_http("http-app", "echo", Verb::Post, b"{\"n\":1}".to_vec()).await?;
    same(reply, b"{\"n\":1}")
}

/// What the SDK's own client sends to an HTTP app names no verb, which is refused.
async fn without_verb(clients: &mut Clients) -> Outcome {
    refused(clients.sdk.invoke_service("http-app", "echo", None).await, "missing HTTP extension field")
}

async fn invoke_error(clients: &mut Clients) -> Outcome {
    let unknown = clients.invoke_http("http-app", "no-such-method", Verb::Post, Vec::new()).await;
    same(unknown.map_err(|status| status.code()), Err(tonic::Code::NotFound))
}

async fn invoke_grpc(clients: &mut Clients) -> Outcome {
    let data = Any { type_url: String::new(), value: b"hello".to_vec() };
    let reply = clients.sdk.invoke_service("grpc-app", "echo", Some(data)).await?;
    same(reply.data.unwrap_or_default().value, b"hello")?;
    refused(clients.sdk.invoke_service("grpc-app", "no-such-method", None).await, "no method no-such-method")
}

async fn invoke_proxy() -> Outcome {
    let channel = Endpoint::from_shared(dapr::client::default_sidecar_address())?.connect().await?;
    let mut greeter = GreeterClient::new(channel, "grpc-app");
    same(greeter.greet("Ada").await?, "hello Ada")?;
    let many: Result<Vec<String>, _> = greeter.greet_many("Ada").await?.collect().await;
    same(many?, ["hello Ada 1", "hello Ada 2", "hello Ada 3"])?;
    both(&mut greeter).await
}

/// Each name is sent after the greeting of the one before: neither direction waits for the end of the other.
async fn both(greeter: &mut GreeterClient) -> Outcome {
    let (names, outgoing) = mpsc::channel(1);
    names.send("number 0".to_string()).await?;
    let mut replies = greeter.greet_all(ReceiverStream::new(outgoing)).await?;
    for n in 0..3 {
        let reply = timeout(DEADLINE, replies.message()).await??;
        same(reply, Some(format!("hello number {n}")))?;
        names.send(format!("number {}", n + 1)).await?;
    }
    drop(names);
    same(timeout(DEADLINE, replies.message()).await??, Some("hello number 3".to_string()))?;
    same(timeout(DEADLINE, replies.message()).await??, None)
}
