use dapr::client::{Etag, StateItem, StateOptions};
use dapr::dapr::proto::common::v1::state_options::{StateConcurrency, StateConsistency};
use dapr::dapr::proto::runtime::v1::{
    ExecuteStateTransactionRequest, GetBulkStateRequest, TransactionalStateOperation,
};
use serde_json::{Value, json};
use std::collections::HashMap;

use crate::checks::{Clients, refused, report, same};
use crate::{Failure, Outcome};

const STORE: &str = "statestore";

pub async fn run(clients: &mut Clients) {
    report("state", state(clients).await);
    report("state-etag", state_etag(clients).await);
    report("state-transaction", state_transaction(clients).await);
    report("state-query", state_query(clients).await);
}

async fn state(clients: &mut Clients) -> Outcome {
    let value = json!({ "text": "käse", "n": 1 });
    clients.sdk.save_state(STORE, "rust", value.to_string().into(), None, None, None).await?;
    let items = vec![item("rust-2", b"\"two\""), item("rust-3", &[0, 255, 128])];
    clients.sdk.save_bulk_states(STORE, items).await?;
    let found: Value = serde_json::from_slice(&read(clients, "rust").await?)?;
    same(found, value)?;
    same(read(clients, "rust-3").await?, [0, 255, 128])?;
    bulk(clients).await?;
    clients.sdk.delete_state(STORE, "rust", None).await?;
    same(read(clients, "rust").await?, b"")?;
    clients.sdk.delete_bulk_state(STORE, vec![("rust-2", Vec::new()), ("rust-3", Vec::new())]).await?;
    same(read(clients, "rust-2").await?, b"")?;
    same(read(clients, "rust-3").await?, b"")
}

async fn bulk(clients: &mut Clients) -> Outcome {
    let request = GetBulkStateRequest {
        store_name: STORE.to_string(),
        keys: vec!["rust-2".to_string(), "rust-none".to_string()],
        parallelism: 2,
        metadata: HashMap::new(),
    };
    let items = clients.raw.get_bulk_state(request).await?.into_inner().items;
    let data: HashMap<_, _> = items.into_iter().map(|item| (item.key, item.data)).collect();
    same(data.get("rust-2").map(Vec::as_slice), Some(b"\"two\"".as_slice()))?;
    same(data.get("rust-none").map(Vec::len), Some(0))
}

async fn state_etag(clients: &mut Clients) -> Outcome {
    clients.sdk.save_state(STORE, "rust-etag", b"1".into(), None, None, None).await?;
    let etag = clients.sdk.get_state(STORE, "rust-etag", None).await?.etag;
    let options = StateOptions {
        concurrency: StateConcurrency::ConcurrencyFirstWrite as i32,
        consistency: StateConsistency::ConsistencyStrong as i32,
    };
    let etag = Some(Etag { value: etag });
    clients.sdk.save_state(STORE, "rust-etag", b"2".into(), etag.clone(), None, Some(options)).await?;
    let stale = clients.sdk.save_state(STORE, "rust-etag", b"3".into(), etag, None, Some(options)).await;
    refused(stale, "code: Aborted")?;
    same(read(clients, "rust-etag").await?, b"2")
}

async fn state_transaction(clients: &mut Clients) -> Outcome {
    clients.sdk.save_state(STORE, "rust-tx-old", b"1".into(), None, None, None).await?;
    let operations = vec![
        operation("upsert", item("rust-tx-new", b"\"new\"")),
        operation("delete", item("rust-tx-old", b"")),
    ];
    let request = ExecuteStateTransactionRequest {
        store_name: STORE.to_string(),
        operations,
        metadata: HashMap::new(),
    };
    clients.raw.execute_state_transaction(request).await?;
    same(read(clients, "rust-tx-new").await?, b"\"new\"")?;
    same(read(clients, "rust-tx-old").await?, b"")
}

async fn state_query(clients: &mut Clients) -> Outcome {
    for n in 1..=3 {
        let value = json!({ "group": "rust-query", "n": n }).to_string();
        let metadata = HashMap::from([("contentType".to_string(), "application/json".to_string())]);
        let key = format!("rust-query-{n}");
        clients.sdk.save_state(STORE, key.as_str(), value.into(), None, Some(metadata), None).await?;
    }
    let query = json!({
        "filter": { "EQ": { "group": "rust-query" } },
        "sort": [{ "key": "n", "order": "DESC" }],
        "page": { "limit": 2 },
    });
    let mut found = Vec::new();
    for result in clients.sdk.query_state_alpha1(STORE, query, None).await?.results {
        let value: Value = serde_json::from_slice(&result.data)?;
        found.push(value["n"].clone());
    }
    same(found, vec![json!(3), json!(2)])
}

async fn read(clients: &mut Clients, key: &str) -> Result<Vec<u8>, Failure> {
    Ok(clients.sdk.get_state(STORE, key, None).await?.data)
}

fn item(key: &str, value: &[u8]) -> StateItem {
    StateItem { key: key.to_string(), value: value.to_vec(), ..Default::default() }
}

fn operation(kind: &str, item: StateItem) -> TransactionalStateOperation {
    TransactionalStateOperation { operation_type: kind.to_string(), request: Some(item) }
}
