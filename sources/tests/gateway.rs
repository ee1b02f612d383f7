//! The gateway over real sockets, with a dataflow that is one closure: from the refused handshake to
//! the goodbye of a drained node.

#[path = "../src/testing.rs"]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use imflow_kind::testing::FakeInjector;
use imflow_kind::testing::io_context;
use imflow_kind::{Form, IoContext, Options, Outboxes, Roles, Source, Value};
use imflow_proto::Record;
use imflow_proto::record::{Band, Delivery, Entry, Event};
use imflow_proto::wire::Message as Stored;
use imflow_sources::auth::Secrets;
use imflow_sources::{HttpListener, kinds};
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A gateway whose dataflow commits each message and delivers it to alice and bob.
struct Node {
    source: Box<dyn Source>,
    listener: Arc<HttpListener>,
    secrets: Secrets,
    _data: tempfile::TempDir,
}

impl Node {
    fn start(set: impl FnOnce(&mut Options)) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let roles = Roles::default();
        let listener = HttpListener::new("main", "127.0.0.1:0");
        listener.bind().expect("a free port");
        roles.offer(&HttpListener::role("main"), Arc::clone(&listener));
        let mut source = build(data.path(), &roles, set);
        let outboxes = roles.find::<Arc<dyn Outboxes>>("clients").expect("offered while building");
        let mut seq = 0;
        let dataflow = FakeInjector::reacting(move |record| {
            if let Record::Submission(submission) = record {
                seq += 1;
                outboxes.deliver(committed(submission, seq));
            }
        });
        source.start(dataflow).expect("the listener is open");
        listener.serve().expect("bound");
        let secrets = Secrets::open(data.path()).expect("made at the start");
        Self { source, listener, secrets, _data: data }
    }

    fn token(&self, user: &str, device: &str) -> String {
        let scopes = ["send", "read", "create"];
        self.secrets.mint(user, device, &scopes, Duration::from_secs(600)).expect("valid ids")
    }

    async fn dial(&self, protocols: &str, authorization: Option<&str>) -> Result<Client, Error> {
        let address = self.listener.local_addr().expect("bound");
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocols.parse().expect("a header"));
        if let Some(token) = authorization {
            request
                .headers_mut()
                .insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        }
        Ok(connect_async(request).await?.0)
    }

    async fn connect(&self, user: &str, device: &str) -> Client {
        let token = self.token(user, device);
        let mut client = self.dial("imflow.v1.json", Some(&token)).await.expect("accepted");
        assert_eq!(read(&mut client).await["welcome"]["userId"], user);
        client
    }
}

fn build(data: &std::path::Path, roles: &Roles, set: impl FnOnce(&mut Options)) -> Box<dyn Source> {
    let kinds = kinds();
    let kind = kinds.iter().find(|kind| kind.description.name == "websocket").expect("registered");
    let mut options = testing::defaults(kind.description.options);
    set(&mut options);
    let context = IoContext { roles: roles.clone(), ..io_context("clients", options, data) };
    let Form::Source(build) = &kind.form else { panic!("a source") };
    build(&context).expect("valid options")
}

fn committed(submission: &imflow_proto::record::Submission, seq: u64) -> Vec<Record> {
    let message = Stored {
        conversation_id: submission.send.conversation_id.clone(),
        seq,
        sender_id: submission.session.user_id.to_string(),
        r#type: submission.send.r#type,
        text: submission.send.text.clone(),
        ..Default::default()
    };
    let entry = Arc::new(Entry {
        lsn: seq,
        ticket: Some(submission.ticket.clone()),
        session: Some(Arc::clone(&submission.session)),
        message,
        keys: submission.keys,
    });
    let delivery = Delivery {
        event: Event::Message(Arc::clone(&entry)),
        to: ["alice", "bob"].map(Arc::from).into(),
        except: submission.session.number,
        band: Band::P1,
    };
    vec![Record::Committed(entry), Record::Delivery(Arc::new(delivery))]
}

async fn read(client: &mut Client) -> Json {
    match client.next().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("expected an envelope, got {other:?}"),
    }
}

async fn send(client: &mut Client, id: u64, text: &str) {
    let command = json!({"id": id, "send": {"conversationId": "c1", "clientMsgId": format!("x-{id}"), "type": "TEXT", "text": text}});
    client.send(Message::text(command.to_string())).await.expect("open");
}

/// Status and body of a refused handshake.
fn refused(result: Result<Client, Error>) -> (u16, Json) {
    let Err(Error::Http(response)) = result else { panic!("expected a refusal, got {result:?}") };
    let body = response.body().as_deref().unwrap_or_default();
    (response.status().as_u16(), serde_json::from_slice(body).unwrap_or_default())
}

#[tokio::test]
async fn a_handshake_is_refused_with_a_reason() {
    let node = Node::start(|_| {});
    let (status, body) = refused(node.dial("imflow.v1.json", None).await);
    assert_eq!((status, &body["error"]["code"]), (401, &json!("UNAUTHENTICATED")));
    let (status, _) = refused(node.dial("imflow.v1.json", Some("forged")).await);
    assert_eq!(status, 401);
    let token = node.token("alice", "phone");
    let (status, body) = refused(node.dial("chat", Some(&token)).await);
    assert!(
        status == 400
            && body["error"]["message"].as_str().is_some_and(|m| m.contains("imflow.v1.json")),
        "{body}"
    );
}

#[tokio::test]
async fn caps_are_answered_before_the_upgrade() {
    let node = Node::start(|options| {
        options
            .set("max_connections", Value::Integer(2))
            .set("max_connections_per_user", Value::Integer(1));
    });
    let _phone = node.connect("alice", "phone").await;
    let token = node.token("alice", "pad");
    assert_eq!(refused(node.dial("imflow.v1.json", Some(&token)).await).0, 429);
    let _bob = node.connect("bob", "phone").await;
    let token = node.token("carol", "phone");
    assert_eq!(refused(node.dial("imflow.v1.json", Some(&token)).await).0, 503);
}

#[tokio::test]
async fn a_message_is_acked_and_pushed_to_all_but_its_session() {
    let node = Node::start(|_| {});
    let browser = format!("imflow.v1.json, bearer.{}", node.token("bob", "browser"));
    let mut bob = node.dial(&browser, None).await.expect("a token as a subprotocol");
    assert_eq!(read(&mut bob).await["welcome"]["deviceId"], "browser");
    let (mut phone, mut pad) =
        (node.connect("alice", "phone").await, node.connect("alice", "pad").await);
    for id in 1..=3 {
        send(&mut phone, id, "hello").await;
    }
    for id in 1..=3 {
        let ack = read(&mut phone).await;
        assert_eq!((&ack["id"], &ack["ack"]["seq"]), (&json!(id), &json!(id)));
        for other in [&mut bob, &mut pad] {
            let push = read(other).await;
            assert_eq!((&push["push"]["message"]["seq"], push.get("id")), (&json!(id), None));
        }
    }
}

#[tokio::test]
async fn a_newer_connection_of_the_same_device_replaces_the_older() {
    let node = Node::start(|_| {});
    let mut older = node.connect("alice", "phone").await;
    let mut newer = node.connect("alice", "phone").await;
    assert_eq!(read(&mut older).await["goodbye"]["code"], 4509);
    let close = older.next().await;
    assert!(
        matches!(&close, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 4509),
        "{close:?}"
    );
    send(&mut newer, 1, "still here").await;
    assert_eq!(read(&mut newer).await["ack"]["seq"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_tells_its_clients_to_reconnect() {
    let mut node = Node::start(|_| {});
    let mut alice = node.connect("alice", "phone").await;
    node.listener.drain();
    node.source.drain();
    let goodbye = read(&mut alice).await;
    assert_eq!(
        (&goodbye["goodbye"]["code"], &goodbye["goodbye"]["reconnect"]),
        (&json!(4412), &json!(true))
    );
    let token = node.token("bob", "phone");
    assert_eq!(refused(node.dial("imflow.v1.json", Some(&token)).await).0, 503);
    drop(alice);
    node.source.stop();
    node.listener.shutdown();
}
