//! The OpenAPI document, made from the routes themselves.

use axum::Json;
use axum::http::Method;
use utoipa::OpenApi;
use utoipa::openapi::PathItem;

use super::{erase, export, facts, levels, messages, presence, queries, topology};

/// The OpenAPI document.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// Whether the document has a route for a method and a path.
///
/// # Errors
/// A sentence with the routes that come nearest.
pub(super) fn route_of(method: &Method, path: &str) -> Result<(), String> {
    let fits = |template: &str| {
        let (mut template, mut path) = (template.split('/'), path.split('/'));
        let same = |(t, p): (&str, &str)| t == p || (t.starts_with('{') && !p.is_empty());
        let parts = template.by_ref().zip(path.by_ref()).all(same);
        parts && template.next().is_none() && path.next().is_none()
    };
    let document = Document::openapi();
    let routes = &document.paths.paths;
    match routes.iter().find(|(template, _)| fits(template)) {
        Some((_, item)) if methods(item).any(|known| known == *method) => Ok(()),
        Some((template, item)) => {
            let known: Vec<_> = methods(item).map(|known| known.to_string()).collect();
            Err(format!("`{path}` takes no {method}; {template} takes {}", known.join(", ")))
        }
        None => {
            let known: Vec<_> = routes.keys().map(String::as_str).collect();
            Err(format!("no route `{path}`; the routes are {}", known.join(", ")))
        }
    }
}

fn methods(item: &PathItem) -> impl Iterator<Item = Method> {
    let taken = [
        (Method::GET, item.get.is_some()),
        (Method::PUT, item.put.is_some()),
        (Method::POST, item.post.is_some()),
        (Method::DELETE, item.delete.is_some()),
    ];
    taken.into_iter().filter(|(_, taken)| *taken).map(|(method, _)| method)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "imflow control API",
        description = "Conversations, members, mutes, bans, levels of users, presence, messages of bots, and erasure."
    ),
    paths(
        facts::create_conversation,
        facts::get_conversation,
        facts::put_fanout,
        facts::list_members,
        facts::put_member,
        facts::delete_member,
        facts::put_mute,
        facts::delete_mute,
        facts::put_ban,
        facts::delete_ban,
        facts::conversations_of_user,
        levels::get_level,
        levels::put_level,
        messages::send_message,
        messages::list_messages,
        messages::revoke_message,
        messages::list_cursors,
        messages::timeline,
        queries::start_query,
        queries::get_query,
        queries::delete_query,
        messages::search,
        erase::erase_user,
        erase::erasure_of_user,
        erase::erase_conversation,
        erase::erasure_of_conversation,
        export::export,
        presence::user_presence,
        presence::user_routes,
        presence::failed_route,
        presence::online_members,
        topology::get_topology,
    )
)]
struct Document;
