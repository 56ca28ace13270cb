//! Jobs: the app's handlers, and the checks of an app for itself, as a job calls the app that scheduled it.
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dapr::appcallback::{AppCallbackService, JobEventRequest, JobEventResponse, JobHandlerMethod};
use dapr::client::{
    ClientOptions, JobBuilder, JobFailurePolicyBuilder, JobFailurePolicyType, TonicClientWithAuth,
};
use prost_types::Any;
use serde_json::{Value, json};
use tonic::Status;

use crate::app::{Received, keep};
use crate::checks::{DEADLINE, refused, report, same};
use crate::{Failure, Outcome};

const NAMES: [&str; 7] =
    ["job-once", "job-every", "job-cron", "job-overwrite", "job-delete", "job-retried", "job-dropped"];

pub fn add_handlers(sdk: &mut AppCallbackService, received: &Received) {
    for name in NAMES {
        let failures = match name {
            "job-retried" => 2,
            "job-dropped" => usize::MAX,
            _ => 0,
        };
        let handler = Keeper { received: received.clone(), failures, tries: AtomicUsize::new(0) };
        sdk.add_job_handler(name.to_string(), Box::new(handler));
    }
}

/// Keeps what a job brings, and fails the first times.
struct Keeper {
    received: Received,
    failures: usize,
    tries: AtomicUsize,
}

#[tonic::async_trait]
impl JobHandlerMethod for Keeper {
    async fn handler(&self, request: JobEventRequest) -> Result<JobEventResponse, Status> {
        keep(&self.received, &request.name, &request.data.unwrap_or_default().value)?;
        if self.tries.fetch_add(1, Ordering::Relaxed) < self.failures {
            return Err(Status::internal("not now"));
        }
        Ok(JobEventResponse::default())
    }
}

/// Side by side: most of them wait for the second hand.
pub async fn run() -> Outcome {
    tokio::join!(
        check("job-once", once),
        check("job-every", every),
        check("job-cron", cron),
        check("job-get", get),
        check("job-overwrite", overwrite),
        check("job-delete", delete),
        check("job-retried", retried),
        check("job-dropped", dropped),
        check("job-list", list),
        check("job-delete-by-prefix", delete_by_prefix),
    );
    Ok(())
}

async fn check<F: Future<Output = Outcome>>(name: &str, work: impl FnOnce(Jobs) -> F) {
    let outcome = match Jobs::connect().await {
        Ok(jobs) => work(jobs).await,
        Err(error) => Err(error),
    };
    report(name, outcome);
}

async fn once(mut jobs: Jobs) -> Outcome {
    jobs.schedule(JobBuilder::new("job-once").with_due_time("100ms"), "a").await?;
    jobs.gone("job-once").await?;
    jobs.brought("job-once", &["a"]).await
}

async fn every(mut jobs: Jobs) -> Outcome {
    let job = JobBuilder::new("job-every").with_schedule("@every 1s").with_repeats(2);
    jobs.schedule(job, "a").await?;
    jobs.gone("job-every").await?;
    jobs.brought("job-every", &["a", "a"]).await
}

async fn cron(mut jobs: Jobs) -> Outcome {
    let job = JobBuilder::new("job-cron").with_schedule("TZ=Europe/Berlin * * * * * *").with_ttl("2500ms");
    jobs.schedule(job, "a").await?;
    jobs.gone("job-cron").await?;
    let count = jobs.fires("job-cron").await?.len();
    if (1..=3).contains(&count) { Ok(()) } else { Err(format!("it came {count} times").into()) }
}

async fn get(mut jobs: Jobs) -> Outcome {
    let policy = constant(Duration::from_secs(5), 4);
    let job = JobBuilder::new("job-get")
        .with_schedule("@daily")
        .with_due_time("1h")
        .with_ttl("72h")
        .with_repeats(7)
        .with_failure_policy(policy)
        .with_data(data("a"))
        .build();
    jobs.client.schedule_job(job.clone(), None).await?;
    same(jobs.client.get_job("job-get").await?.job, Some(job))
}

async fn overwrite(mut jobs: Jobs) -> Outcome {
    jobs.schedule(JobBuilder::new("job-overwrite").with_due_time("1h"), "old").await?;
    let job = JobBuilder::new("job-overwrite").with_due_time("100ms").with_data(data("new")).build();
    refused(jobs.client.schedule_job(job.clone(), None).await, "AlreadyExists")?;
    jobs.client.schedule_job(job, Some(true)).await?;
    jobs.gone("job-overwrite").await?;
    jobs.brought("job-overwrite", &["new"]).await
}

async fn delete(mut jobs: Jobs) -> Outcome {
    jobs.schedule(JobBuilder::new("job-delete").with_due_time("1h"), "a").await?;
    jobs.client.delete_job("job-delete").await?;
    jobs.gone("job-delete").await?;
    jobs.brought("job-delete", &[]).await
}

async fn retried(mut jobs: Jobs) -> Outcome {
    let policy = constant(Duration::from_millis(50), 5);
    let job = JobBuilder::new("job-retried").with_due_time("1ms").with_failure_policy(policy);
    jobs.schedule(job, "a").await?;
    jobs.gone("job-retried").await?;
    jobs.brought("job-retried", &["a", "a", "a"]).await
}

async fn dropped(mut jobs: Jobs) -> Outcome {
    let policy = JobFailurePolicyBuilder::new(JobFailurePolicyType::Drop {}).build();
    let job = JobBuilder::new("job-dropped").with_due_time("1ms").with_failure_policy(policy);
    jobs.schedule(job, "a").await?;
    jobs.gone("job-dropped").await?;
    jobs.brought("job-dropped", &["a"]).await
}

async fn list(mut jobs: Jobs) -> Outcome {
    for name in ["list-1", "list-2"] {
        jobs.schedule(JobBuilder::new(name).with_schedule("@yearly"), "a").await?;
    }
    same(jobs.names("list-").await?, vec!["list-1", "list-2"])
}

async fn delete_by_prefix(mut jobs: Jobs) -> Outcome {
    for name in ["prefix-1", "prefix-2", "other-prefix-3"] {
        jobs.schedule(JobBuilder::new(name).with_schedule("@yearly"), "a").await?;
    }
    jobs.client.delete_jobs_by_prefix(Some("prefix-")).await?;
    same(jobs.names("prefix-").await?.len(), 0)?;
    same(jobs.names("other-prefix-").await?.len(), 1)
}

fn constant(interval: Duration, retries: u32) -> dapr::client::JobFailurePolicy {
    JobFailurePolicyBuilder::new(JobFailurePolicyType::Constant {})
        .with_retry_interval(interval)
        .with_max_retries(retries)
        .build()
}

fn data(text: &str) -> Any {
    Any { type_url: String::new(), value: json!(text).to_string().into_bytes() }
}

/// The jobs of the gRPC app, through its own runtime.
struct Jobs {
    client: dapr::Client<TonicClientWithAuth>,
}

impl Jobs {
    async fn connect() -> Result<Jobs, Failure> {
        let address = format!("http://127.0.0.1:{}", std::env::var("GRPC_APP_GRPC_PORT")?);
        let options = ClientOptions::new().with_address(address);
        Ok(Jobs { client: dapr::Client::from_options(options).await? })
    }

    async fn schedule(&mut self, job: JobBuilder, text: &str) -> Outcome {
        self.client.schedule_job(job.with_data(data(text)).build(), None).await?;
        Ok(())
    }

    /// Waits until the runtime has forgotten the job.
    async fn gone(&mut self, name: &str) -> Outcome {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.client.get_job(name).await {
                Err(error) if format!("{error:?}").contains("job not found") => return Ok(()),
                Err(error) => return Err(error.into()),
                Ok(_) if Instant::now() > deadline => return Err(format!("{name} is still there").into()),
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn brought(&mut self, name: &str, wanted: &[&str]) -> Outcome {
        same(self.fires(name).await?, wanted.to_vec())
    }

    /// What the app got of a job.
    async fn fires(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        let reply = self.client.invoke_service("grpc-app", "received", None).await?;
        let events: Vec<Value> = serde_json::from_slice(&reply.data.unwrap_or_default().value)?;
        let mine = events.iter().filter(|event| event["route"] == name);
        Ok(mine.map(|event| event["data"].as_str().unwrap_or_default().to_string()).collect())
    }

    async fn names(&mut self, prefix: &str) -> Result<Vec<String>, Failure> {
        let all = self.client.list_jobs().await?.jobs;
        let mut names: Vec<String> =
            all.into_iter().map(|job| job.name).filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        Ok(names)
    }
}
