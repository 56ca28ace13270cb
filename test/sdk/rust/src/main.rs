//! The SDK program in Rust, on the crate dapr as crates.io ships it. See ../../README.md.
mod app;
mod checks;
mod client;
mod greeter;
mod invoke;
mod jobs;
mod publish;
mod state;

/// What a check or a server can fail with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
pub type Outcome = Result<(), Failure>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    match std::env::args().nth(1).as_deref() {
        Some("grpc") => app::serve(std::env::var("APP_PORT")?.parse()?).await,
        Some("client") => client::run_checks().await,
        role => Err(format!("the role is grpc or client, not {role:?}").into()),
    }
}
