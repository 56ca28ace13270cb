use dapr::dapr::proto::runtime::v1::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Request;
use dapr::dapr::proto::runtime::v1::subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Response;
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus;
use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, BulkPublishRequestEntry, SubscribeTopicEventsRequestAlpha1,
    SubscribeTopicEventsRequestInitialAlpha1, SubscribeTopicEventsRequestProcessedAlpha1,
    SubscribeTopicEventsResponseAlpha1, TopicEventResponse,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::checks::{Clients, DEADLINE, report, same, skip};
use crate::{Failure, Outcome};

pub async fn run(clients: &mut Clients) {
    skip("publish-http", "the SDK publishes over gRPC only");
    report("publish-grpc", publish(clients).await);
    report("publish-routing", publish_routing(clients).await);
    report("publish-bulk", publish_bulk(clients).await);
    report("subscribe-stream", subscribe_stream(clients).await);
}

async fn send(clients: &mut Clients, topic: &str, data: Value, r#type: Option<&str>) -> Outcome {
    let metadata = r#type.map(|r#type| HashMap::from([("cloudevent.type".to_string(), r#type.to_string())]));
    let data = data.to_string().into_bytes();
    clients.sdk.publish_event("pubsub", topic, "application/json", data, metadata).await?;
    Ok(())
}

async fn publish(clients: &mut Clients) -> Outcome {
    send(clients, "plain", json!({ "id": "rust-plain" }), None).await?;
    clients.arrived("plain", |data| data["id"] == "rust-plain").await
}

async fn publish_routing(clients: &mut Clients) -> Outcome {
    send(clients, "routed", json!({ "id": "rust-special" }), Some("special")).await?;
    send(clients, "routed", json!({ "id": "rust-other" }), None).await?;
    clients.arrived("special", |data| data["id"] == "rust-special").await?;
    clients.arrived("default", |data| data["id"] == "rust-other").await
}

async fn publish_bulk(clients: &mut Clients) -> Outcome {
    let entries = [1, 2].map(|n| BulkPublishRequestEntry {
        entry_id: n.to_string(),
        event: json!({ "id": format!("rust-bulk-{n}") }).to_string().into(),
        content_type: "application/json".to_string(),
        metadata: HashMap::new(),
    });
    let request = BulkPublishRequest {
        pubsub_name: "pubsub".to_string(),
        topic: "bulk".to_string(),
        entries: entries.to_vec(),
        metadata: HashMap::new(),
    };
    same(clients.raw.bulk_publish_event(request).await?.into_inner().failed_entries.len(), 0)?;
    for n in 1..=2 {
        // The app behind http-app may keep the whole cloud event.
        clients.arrived("bulk", |data| data.to_string().contains(&format!("\"rust-bulk-{n}\""))).await?;
    }
    Ok(())
}

async fn subscribe_stream(clients: &mut Clients) -> Outcome {
    let (requests, outgoing) = mpsc::channel(8);
    let initial = SubscribeTopicEventsRequestInitialAlpha1 {
        pubsub_name: "pubsub".to_string(),
        topic: "rust-stream".to_string(),
        ..Default::default()
    };
    requests.send(request(Request::InitialRequest(initial))).await?;
    let mut events =
        clients.raw.subscribe_topic_events_alpha1(ReceiverStream::new(outgoing)).await?.into_inner();
    match next(&mut events).await? {
        Response::InitialResponse(_) => {}
        other => return Err(format!("the stream began with {other:?}").into()),
    }
    send(clients, "rust-stream", json!({ "id": "one" }), None).await?;
    // The first delivery is sent back, so that there is a second one.
    for status in [TopicEventResponseStatus::Retry, TopicEventResponseStatus::Success] {
        let Response::EventMessage(event) = next(&mut events).await? else {
            return Err("no event".into());
        };
        let data: Value = serde_json::from_slice(&event.data)?;
        same(data, json!({ "id": "one" }))?;
        let processed = SubscribeTopicEventsRequestProcessedAlpha1 {
            id: event.id,
            status: Some(TopicEventResponse { status: status as i32 }),
        };
        requests.send(request(Request::EventProcessed(processed))).await?;
    }
    Ok(())
}

fn request(r#type: Request) -> SubscribeTopicEventsRequestAlpha1 {
    SubscribeTopicEventsRequestAlpha1 { subscribe_topic_events_request_type: Some(r#type) }
}

async fn next(events: &mut Streaming<SubscribeTopicEventsResponseAlpha1>) -> Result<Response, Failure> {
    let message = timeout(DEADLINE, events.message()).await??.ok_or("the stream ended")?;
    Ok(message.subscribe_topic_events_response_type.ok_or("an empty message")?)
}
