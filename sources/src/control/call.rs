//! One call through the dataflow: credit, a ticket, and the answer within the time limit.

use std::sync::{Arc, Mutex, PoisonError};

use imflow_proto::record::{Ask, Command, Query, Scopes, Session, Submission, Wish};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{self, ErrorCode};
use imflow_proto::{Record, Requester, Ticket};
use tokio::sync::oneshot;

use super::Shared;
use crate::refusal::Refusal;

const MESSAGES: usize = 0;
const COMMANDS: usize = 1;
const QUERIES: usize = 2;
/// What a command weighs beside its text.
const OVERHEAD_BYTES: usize = 256;

/// Waits for one answer.
struct Caller(Mutex<Option<oneshot::Sender<Body>>>);

impl Requester for Caller {
    fn answer(&self, _id: u64, body: Body) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // A caller that has gone does not read its answer.
            let _ = sender.send(body);
        }
    }
}

/// The control API speaking as `user_id` (empty: as itself).
pub(super) fn session(user_id: &str) -> Arc<Session> {
    let scopes = Scopes { send: true, read: true, create: true, admin: true };
    Arc::new(Session { number: 0, user_id: user_id.into(), device_id: "api".into(), scopes })
}

impl Shared {
    /// Asks for a change of facts.
    pub(super) async fn command(
        &self,
        conversation_id: String,
        wish: Wish,
    ) -> Result<Body, Refusal> {
        let worker = self.injector.worker_of(&conversation_id);
        let record = |ticket| {
            let command = Command { ticket, session: session(""), conversation_id, wish };
            Record::Command(Arc::new(command))
        };
        self.call(worker, COMMANDS, OVERHEAD_BYTES, record).await
    }

    /// Sends a message as `user_id` (empty: as itself), or acts on one.
    pub(super) async fn send(
        &self,
        user_id: &str,
        send: wire::Send,
        action: Option<wire::Action>,
    ) -> Result<Body, Refusal> {
        let worker = self.injector.worker_of(&send.conversation_id);
        let bytes = OVERHEAD_BYTES + send.text.len() + send.payload.len();
        let session = session(user_id);
        let record = |ticket| {
            Record::Submission(Arc::new(match action {
                None => Submission::new(ticket, session, send),
                Some(action) => Submission::acting(ticket, session, send, action),
            }))
        };
        self.call(worker, MESSAGES, bytes, record).await
    }

    /// Asks what `user_id` may read; empty: what anybody may.
    pub(super) async fn ask(&self, user_id: &str, ask: Ask) -> Result<Body, Refusal> {
        let key = if user_id.is_empty() { ask.conversation_id() } else { user_id };
        let worker = self.injector.worker_of(key);
        let mut session = session(user_id);
        Arc::make_mut(&mut session).scopes.admin = user_id.is_empty();
        let record = |ticket| Record::Query(Arc::new(Query { ticket, session, ask }));
        self.call(worker, QUERIES, OVERHEAD_BYTES, record).await
    }

    async fn call(
        &self,
        worker: usize,
        port: usize,
        bytes: usize,
        record: impl FnOnce(Ticket) -> Record,
    ) -> Result<Body, Refusal> {
        let credit = self.injector.credit(worker, port, bytes)?;
        let (sender, answer) = oneshot::channel();
        let ticket = Ticket::new(0, Arc::new(Caller(Mutex::new(Some(sender)))), Some(credit));
        self.injector.send(worker, port, vec![record(ticket.clone())]);
        let answer = tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = self.pace.sleep(self.timeout) => None,
        };
        match answer {
            Some(Ok(Body::Error(error))) => Err(error.into()),
            Some(Ok(body)) => Ok(body),
            Some(Err(_)) => Err(Refusal::of(ErrorCode::Internal, "the call was lost; try again")),
            None => {
                let error = wire::Error::of(
                    ErrorCode::Timeout,
                    "no answer in time; the change may still come into force: look before you try again",
                );
                ticket.refuse(error.clone());
                Err(error.into())
            }
        }
    }

    /// Reads from the store.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn imflow_kind::Store) -> Result<T, imflow_kind::StoreError>
        + Send
        + 'static,
    ) -> Result<T, Refusal> {
        self.pace.read(&self.store, read).await.map_err(|error| {
            tracing::error!(%error, "a read failed");
            Refusal::of(
                ErrorCode::Internal,
                "the store could not be read; the server's log says why",
            )
        })
    }
}
