//! A gRPC app: the AppCallback service of the crate, and the greeter for proxied calls.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use dapr::appcallback::*;
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event;
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus;
use dapr::dapr::proto::runtime::v1::{
    BulkSubscribeConfig, TopicEventBulkResponseEntry, TopicRoutes, TopicRule,
};
use prost_types::Any;
use serde_json::{Value, json};
use tonic::{Request, Response, Status, transport::Server};

use crate::greeter::GreeterServer;
use crate::{Outcome, jobs};

pub type Received = Arc<Mutex<Vec<Value>>>;

pub async fn serve(port: u16) -> Outcome {
    let received = Received::default();
    let mut sdk = AppCallbackService::new();
    sdk.add_handler(Handler {
        pub_sub_name: "pubsub".to_string(),
        topic: "plain".to_string(),
        handler: Box::new(Plain { received: received.clone() }),
    });
    jobs::add_handlers(&mut sdk, &received);
    Server::builder()
        .add_service(AppCallbackServer::new(App { sdk, received }))
        .add_service(GreeterServer)
        .serve(SocketAddr::from(([127, 0, 0, 1], port)))
        .await?;
    Ok(())
}

/// The handler of one topic, as the service of the SDK takes it.
struct Plain {
    received: Received,
}

#[tonic::async_trait]
impl HandlerMethod for Plain {
    async fn handler(&self, event: TopicEventRequest) -> Result<Response<TopicEventResponse>, Status> {
        keep(&self.received, "plain", &event.data)?;
        Ok(Response::new(TopicEventResponse::default()))
    }
}

/// What the service of the SDK does, and what it leaves to the trait: invocation, routes and bulk subscription.
struct App {
    sdk: AppCallbackService,
    received: Received,
}

#[tonic::async_trait]
impl AppCallback for App {
    async fn on_invoke(&self, request: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        let request = request.into_inner();
        match request.method.as_str() {
            "echo" => {
                let InvokeRequest { data, content_type, .. } = request;
                Ok(Response::new(InvokeResponse { data, content_type }))
            }
            "received" => {
                let events = self.received.lock().expect("no holder panics");
                let value =
                    serde_json::to_vec(&*events).map_err(|error| Status::internal(error.to_string()))?;
                let data = Some(Any { type_url: String::new(), value });
                Ok(Response::new(InvokeResponse { data, content_type: "application/json".to_string() }))
            }
            method => Err(Status::unimplemented(format!("no method {method}"))),
        }
    }

    async fn list_topic_subscriptions(
        &self,
        request: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        let mut list = self.sdk.list_topic_subscriptions(request).await?.into_inner();
        let rule =
            TopicRule { r#match: "event.type == \"special\"".to_string(), path: "special".to_string() };
        list.subscriptions.push(TopicSubscription {
            routes: Some(TopicRoutes { rules: vec![rule], default: "default".to_string() }),
            ..TopicSubscription::new("pubsub".to_string(), "routed".to_string(), None)
        });
        list.subscriptions.push(TopicSubscription {
            bulk_subscribe: Some(BulkSubscribeConfig {
                enabled: true,
                max_messages_count: 10,
                max_await_duration_ms: 100,
            }),
            ..TopicSubscription::new("pubsub".to_string(), "bulk".to_string(), None)
        });
        Ok(Response::new(list))
    }

    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        let event = request.get_ref();
        if event.topic == "plain" {
            return self.sdk.on_topic_event(request).await;
        }
        keep(&self.received, &event.path, &event.data)?;
        Ok(Response::new(TopicEventResponse::default()))
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        let mut statuses = Vec::new();
        for entry in request.into_inner().entries {
            match entry.event {
                Some(Event::CloudEvent(event)) => keep(&self.received, "bulk", &event.data)?,
                other => return Err(Status::invalid_argument(format!("not a cloud event: {other:?}"))),
            }
            let status = TopicEventResponseStatus::Success as i32;
            statuses.push(TopicEventBulkResponseEntry { entry_id: entry.entry_id, status });
        }
        Ok(Response::new(TopicEventBulkResponse { statuses }))
    }

    // The SDK panics in these two; an app that uses its service alone must live with that.
    async fn list_input_bindings(
        &self,
        request: Request<()>,
    ) -> Result<Response<ListInputBindingsResponse>, Status> {
        self.sdk.list_input_bindings(request).await
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        self.sdk.on_binding_event(request).await
    }

    async fn on_job_event(
        &self,
        request: Request<JobEventRequest>,
    ) -> Result<Response<JobEventResponse>, Status> {
        self.sdk.on_job_event(request).await
    }
}

pub fn keep(received: &Received, route: &str, data: &[u8]) -> Result<(), Status> {
    let data: Value =
        serde_json::from_slice(data).map_err(|error| Status::invalid_argument(error.to_string()))?;
    received.lock().expect("no holder panics").push(json!({ "route": route, "data": data }));
    Ok(())
}
