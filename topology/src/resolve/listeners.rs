//! `[listeners.NAME]`: an address, and who stands in front of it.

use std::net::SocketAddr;

use imflow_kind::{Network, Opt, OptType, Options};

use super::{Listener, missing, table, unknown_key};
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::document::{Document, Item, Key, Tree};
use crate::values;

/// The options of a listener, beside its `address`.
pub const LISTENER_OPTIONS: &[Opt] = &[
    Opt::new(
        "tls_certificate",
        OptType::Text,
        "",
        "A PEM file with the certificate chain for TLS, the service's own first; it is read anew when it changes",
    )
    .also(&["tls", "cert", "certificate", "ssl_certificate"]),
    Opt::new("tls_key", OptType::Text, "", "A PEM file with the key of `tls_certificate`")
        .also(&["key", "private_key", "ssl_certificate_key"]),
    Opt::new(
        "client_address",
        OptType::Choice(&["socket", "x-forwarded-for", "forwarded", "proxy-protocol"]),
        "socket",
        "Where the address of a client stands when a proxy is in front: the HTTP header X-Forwarded-For or Forwarded (RFC 7239), or \
         the header of the PROXY protocol (version 1 or 2) with which each connection then has to begin",
    )
    .also(&["proxy_protocol", "forwarded_for", "real_ip"]),
    Opt::new(
        "trusted_proxies",
        OptType::Texts,
        "",
        "The proxies that are believed, as addresses or networks: [\"10.0.0.0/8\"]",
    ),
    Opt::new(
        "max_pending",
        OptType::Integer(1, 1_000_000),
        "10000",
        "Connections in HTTP at a time, handshakes above all; more wait in the kernel's queue. A request head has 5 s to arrive",
    ),
    Opt::new(
        "max_pending_per_ip",
        OptType::Integer(1, 1_000_000),
        "1000",
        "Of these, from one IP address (of IPv6: one /64) that is no trusted proxy; more are closed",
    ),
];

pub(super) fn read(
    entries: &Document,
    listeners: &mut Vec<Listener>,
    diagnostics: &mut Diagnostics,
) {
    for (key, item) in entries {
        let Some(entries) = table(key, item, diagnostics) else { continue };
        let mut address = None;
        let mut options = Options::default();
        for option in LISTENER_OPTIONS {
            if let Some(value) = values::default_of(option) {
                options.set(option.name, value);
            }
        }
        for (option, item) in entries {
            match option.name.as_str() {
                "address" => address = read_address(item, diagnostics).or(address),
                _ => read_option(&key.name, option, item, &mut options, diagnostics),
            }
        }
        check_together(&key.name, entries, &options, diagnostics);
        match address {
            Some((address, span)) => {
                listeners.push(Listener { name: key.name.clone(), address, options, span })
            }
            None if entries.iter().any(|(option, _)| option.name == "address") => {}
            None => missing(
                &key.span,
                &format!("listener `{}`", key.name),
                "address",
                "\"127.0.0.1:8080\"",
                diagnostics,
            ),
        }
    }
}

fn read_address(item: &Item, diagnostics: &mut Diagnostics) -> Option<(SocketAddr, Span)> {
    let Tree::Text(text) = &item.value else {
        let found = format!("expected a text, found {}", item.value.type_name());
        let message = "`address` is not a text".to_owned();
        diagnostics.error(Code::WrongType, &item.span, message, found);
        return None;
    };
    let address = text.parse().unwrap_or_else(|_| {
        let message = format!("`{text}` is not an address");
        diagnostics
            .error(Code::BadValue, &item.span, message, "expected IP:PORT")
            .help("for example \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for all interfaces");
        ([127, 0, 0, 1], 0).into()
    });
    Some((address, item.span.clone()))
}

fn read_option(
    listener: &str,
    key: &Key,
    item: &Item,
    options: &mut Options,
    diagnostics: &mut Diagnostics,
) {
    let name = key.name.as_str();
    let Some(option) = LISTENER_OPTIONS.iter().find(|option| option.name == name) else {
        let known: Vec<_> =
            ["address"].into_iter().chain(LISTENER_OPTIONS.iter().map(|o| o.name)).collect();
        let called = LISTENER_OPTIONS.iter().find(|option| option.also.contains(&name));
        unknown_key(key, name, &known, "a listener", diagnostics)
            .help_if(called.map(|option| format!("it is called `{}` here", option.name)));
        return;
    };
    match values::read(option.kind, item) {
        Ok(value) => {
            options.set(option.name, value);
        }
        Err(unfit) => {
            let takes = format!("`{name}` takes {}: {}", values::expected(option.kind), option.doc);
            let help = unfit.help.map_or(takes.clone(), |help| format!("{help}; {takes}"));
            let message = format!("option `{name}` of listener `{listener}`: {}", unfit.message);
            let place = unfit.part.as_ref().unwrap_or(&item.span);
            diagnostics.error(unfit.code, place, message, "this value").help(help);
        }
    }
}

/// What makes sense only together.
fn check_together(
    listener: &str,
    entries: &Document,
    options: &Options,
    diagnostics: &mut Diagnostics,
) {
    let written = |name: &str| entries.iter().find(|(key, _)| key.name == name);
    for (one, other) in [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")] {
        if let Some((key, _)) = written(one)
            && options.text(other).is_empty()
            && !options.text(one).is_empty()
        {
            let message = format!("listener `{listener}` has `{one}` without `{other}`");
            diagnostics
                .error(Code::BadValue, &key.span, message, "TLS takes both")
                .help(format!("add `{other} = \"...pem\"`"));
        }
    }
    if let Some((_, item)) = written("trusted_proxies") {
        let Tree::List(items) = &item.value else { return };
        for item in items {
            let Some(Err(wrong)) = item.text().map(str::parse::<Network>) else { continue };
            let message = format!("`trusted_proxies` of listener `{listener}`: {wrong}");
            diagnostics.error(Code::BadValue, &item.span, message, "this value");
        }
    }
    let behind = options.text("client_address") != "socket";
    let trusts = !options.texts("trusted_proxies").is_empty();
    match (behind, trusts) {
        (true, false) => {
            if let Some((key, _)) = written("client_address") {
                let message = format!(
                    "listener `{listener}` takes the address of a client from a proxy, and trusts none"
                );
                diagnostics
                    .error(Code::BadValue, &key.span, message, "anybody could claim any address")
                    .help("name those that may tell: `trusted_proxies = [\"10.0.0.0/8\"]`");
            }
        }
        (false, true) => {
            if let Some((key, _)) = written("trusted_proxies") {
                let message = format!(
                    "listener `{listener}` trusts proxies, and does not say where they tell a client's address"
                );
                diagnostics
                    .error(Code::BadValue, &key.span, message, "nothing is taken from these")
                    .help("add `client_address = \"x-forwarded-for\"`, or \"forwarded\", or \"proxy-protocol\"");
            }
        }
        _ => {}
    }
}
