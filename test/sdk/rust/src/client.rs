//! The role `client`: all checks, one after the other.
use dapr::client::TonicClient;
use dapr::dapr::proto::runtime::v1::unlock_response::Status as UnlockStatus;
use dapr::dapr::proto::runtime::v1::{TryLockRequest, UnlockRequest};
use std::collections::HashMap;
use tokio::time::timeout;

use crate::Outcome;
use crate::checks::{Clients, DEADLINE, report, same, skip};
use crate::{invoke, jobs, publish, state};

pub async fn run_checks() -> Outcome {
    let address = dapr::client::default_sidecar_address();
    let mut clients = Clients { sdk: dapr::Client::new().await?, raw: TonicClient::connect(address).await? };
    state::run(&mut clients).await;
    publish::run(&mut clients).await;
    invoke::run(&mut clients).await;
    jobs::run().await?;
    report("secrets", secrets(&mut clients).await);
    report("secrets-bulk", secrets_bulk(&mut clients).await);
    report("configuration", configuration(&mut clients).await);
    report("configuration-subscribe", configuration_subscribe(&mut clients).await);
    report("lock", lock(&mut clients.raw).await);
    report("metadata", metadata(&mut clients).await);
    skip("wait-for-sidecar", "the SDK has no such call");
    Ok(())
}

async fn secrets(clients: &mut Clients) -> Outcome {
    let reply = clients.sdk.get_secret("filesecrets", "sdk-secret").await?;
    same(reply.data, HashMap::from([("sdk-secret".to_string(), "hush".to_string())]))
}

async fn secrets_bulk(clients: &mut Clients) -> Outcome {
    let reply = clients.sdk.get_bulk_secret("filesecrets", None).await?;
    let nested = reply.data.get("nested:inner").ok_or("nested:inner is missing")?;
    same(nested.secrets.get("nested:inner").map(String::as_str), Some("deep"))
}

async fn configuration(clients: &mut Clients) -> Outcome {
    let reply = clients.sdk.get_configuration("configstore", vec!["sdk-item"], None).await?;
    same(reply.items.get("sdk-item").map(|item| item.value.as_str()), Some("one"))
}

async fn configuration_subscribe(clients: &mut Clients) -> Outcome {
    let mut changes = clients.sdk.subscribe_configuration("configstore", vec!["sdk-live"], None).await?;
    println!("want sdk-live");
    loop {
        let change = timeout(DEADLINE, changes.message()).await??.ok_or("the stream ended")?;
        if change.items.get("sdk-live").is_none_or(|item| item.value != "after") {
            continue;
        }
        let reply = clients.sdk.unsubscribe_configuration("configstore", change.id.as_str()).await?;
        return same(reply.ok, true);
    }
}

async fn lock(client: &mut TonicClient) -> Outcome {
    same(try_lock(client, "a").await?, true)?;
    same(try_lock(client, "b").await?, false)?;
    same(unlock(client, "b").await?, UnlockStatus::LockBelongsToOthers)?;
    same(unlock(client, "a").await?, UnlockStatus::Success)?;
    same(unlock(client, "a").await?, UnlockStatus::LockDoesNotExist)
}

async fn try_lock(client: &mut TonicClient, owner: &str) -> Result<bool, tonic::Status> {
    let request = TryLockRequest {
        store_name: "lockstore".to_string(),
        resource_id: "rust-lock".to_string(),
        lock_owner: owner.to_string(),
        expiry_in_seconds: 60,
    };
    Ok(client.try_lock_alpha1(request).await?.into_inner().success)
}

async fn unlock(client: &mut TonicClient, owner: &str) -> Result<UnlockStatus, tonic::Status> {
    let request = UnlockRequest {
        store_name: "lockstore".to_string(),
        resource_id: "rust-lock".to_string(),
        lock_owner: owner.to_string(),
    };
    Ok(client.unlock_alpha1(request).await?.into_inner().status())
}

async fn metadata(clients: &mut Clients) -> Outcome {
    clients.sdk.set_metadata("rust", "seen").await?;
    let found = clients.sdk.get_metadata().await?;
    same(found.id.as_str(), "client")?;
    same(found.extended_metadata.get("rust").map(String::as_str), Some("seen"))?;
    same(found.registered_components.iter().any(|each| each.name == "statestore"), true)
}
