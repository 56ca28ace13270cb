//! The service of greeter.proto without a protobuf compiler in the build: each of its messages is one string in field 1,
//! which on the wire is a StringValue, which prost writes for a String.
use std::convert::Infallible;
use std::task::{Context, Poll};

use tokio_stream::StreamExt;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, BoxStream, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::Failure;

const GREET: &str = "/mecha.test.v1.Greeter/Greet";
const GREET_MANY: &str = "/mecha.test.v1.Greeter/GreetMany";
const GREET_ALL: &str = "/mecha.test.v1.Greeter/GreetAll";

/// What the gRPC app serves.
#[derive(Clone)]
pub struct GreeterServer;

impl NamedService for GreeterServer {
    const NAME: &'static str = "mecha.test.v1.Greeter";
}

impl Service<http::Request<tonic::body::Body>> for GreeterServer {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
            Ok(match request.uri().path() {
                GREET => grpc.unary(Greet, request).await,
                GREET_MANY => grpc.server_streaming(GreetMany, request).await,
                GREET_ALL => grpc.streaming(GreetAll, request).await,
                path => Status::new(Code::Unimplemented, path).into_http(),
            })
        })
    }
}

struct Greet;

impl UnaryService<String> for Greet {
    type Response = String;
    type Future = BoxFuture<Response<String>, Status>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(format!("hello {}", request.into_inner()))) })
    }
}

struct GreetMany;

impl ServerStreamingService<String> for GreetMany {
    type Response = String;
    type ResponseStream = BoxStream<String>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        Box::pin(async move {
            let name = request.into_inner();
            let replies = tokio_stream::iter(1..=3).map(move |n| Ok(format!("hello {name} {n}")));
            Ok(Response::new(Box::pin(replies) as BoxStream<String>))
        })
    }
}

struct GreetAll;

impl StreamingService<String> for GreetAll {
    type Response = String;
    type ResponseStream = BoxStream<String>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        Box::pin(async move {
            let replies = request.into_inner().map(|name| Ok(format!("hello {}", name?)));
            Ok(Response::new(Box::pin(replies) as BoxStream<String>))
        })
    }
}

/// Calls the greeter of another app through the sidecar.
pub struct GreeterClient {
    grpc: tonic::client::Grpc<Channel>,
    app_id: &'static str,
}

impl GreeterClient {
    pub fn new(channel: Channel, app_id: &'static str) -> Self {
        Self { grpc: tonic::client::Grpc::new(channel), app_id }
    }

    pub async fn greet(&mut self, name: &str) -> Result<String, Failure> {
        let request = self.addressed(name.to_string());
        self.grpc.ready().await?;
        let codec = ProstCodec::<String, String>::default();
        Ok(self.grpc.unary(request, PathAndQuery::from_static(GREET), codec).await?.into_inner())
    }

    pub async fn greet_many(&mut self, name: &str) -> Result<Streaming<String>, Failure> {
        let request = self.addressed(name.to_string());
        self.grpc.ready().await?;
        let codec = ProstCodec::<String, String>::default();
        let path = PathAndQuery::from_static(GREET_MANY);
        Ok(self.grpc.server_streaming(request, path, codec).await?.into_inner())
    }

    pub async fn greet_all<S>(&mut self, names: S) -> Result<Streaming<String>, Failure>
    where
        S: tokio_stream::Stream<Item = String> + Send + 'static,
    {
        let request = self.addressed(names);
        self.grpc.ready().await?;
        let codec = ProstCodec::<String, String>::default();
        let path = PathAndQuery::from_static(GREET_ALL);
        Ok(self.grpc.streaming(request, path, codec).await?.into_inner())
    }

    fn addressed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("dapr-app-id", self.app_id.parse().expect("an app id is ASCII"));
        request
    }
}
