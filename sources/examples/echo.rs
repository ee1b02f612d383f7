//! Sends every WebSocket message back, through the gateway's own framing, for conformance suites:
//!
//! `echo 127.0.0.1:9001`, then `kosoku -m fuzzingclient -o report ws://127.0.0.1:9001`

use imflow_kind::{OptType, Options, Value};
use imflow_sources::{echo, kinds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: echo ADDRESS")?;
    let kinds = kinds();
    let gateway = kinds.iter().find(|kind| kind.description.name == "websocket");
    let mut options = Options::default();
    for option in gateway.ok_or("there is no gateway")?.description.options {
        let value = match (option.name, option.kind) {
            // The suite's largest message.
            ("max_frame", _) => Value::Size(16 << 20),
            // It sends nothing but pings in some of its cases, and drips in others.
            ("control_rate", _) => Value::Integer(0),
            (_, OptType::Integer(_, most)) => Value::Integer(most),
            (_, OptType::Duration(_, most)) => {
                Value::Duration(std::time::Duration::from_millis(most))
            }
            (_, OptType::Size(_, most)) => Value::Size(most),
            (_, OptType::Texts) => Value::Texts(Vec::new()),
            _ => Value::Text(String::new()),
        };
        options.set(option.name, value);
    }
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let options = options.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            // The suite waits for the answer before its first frame, so nothing is read beyond the head.
            if let Ok(upgraded) = tokio_tungstenite::accept_async(stream).await {
                echo(upgraded.into_inner(), &options).await;
            }
        });
    }
}
