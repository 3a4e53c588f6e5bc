//! Methods as Prometheus treats them, around the router, which lets HEAD through wherever GET is served and lists
//! methods in an order of its own.

use axum::Router;
use axum::extract::Request;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;

/// The router, with methods as Prometheus treats them.
pub(super) fn as_prometheus(router: Router) -> Router {
    Router::new().fallback_service(router).layer(from_fn(around))
}

async fn around(mut request: Request, next: Next) -> Response {
    let in_api = request.uri().path().starts_with("/api/v1/");
    if in_api && request.method() == Method::HEAD {
        // No route has this method: the answer is that HEAD is not allowed, with the methods that are.
        *request.method_mut() = Method::TRACE;
    }
    let mut response = next.run(request).await;
    let preflight = response.status() == StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if let Some(routed) = headers.remove(ALLOW).filter(|_| !preflight)
        && let Some(methods) = listed(&routed, in_api)
    {
        headers.insert(ALLOW, methods);
    }
    response
}

/// The methods of a path: sorted, with OPTIONS, and HEAD only outside of the API.
fn listed(routed: &HeaderValue, in_api: bool) -> Option<HeaderValue> {
    let mut methods: Vec<&str> = routed.to_str().ok()?.split(',').map(str::trim).collect();
    methods.retain(|&name| !in_api || name != Method::HEAD.as_str());
    methods.push(Method::OPTIONS.as_str());
    methods.sort_unstable();
    HeaderValue::from_str(&methods.join(", ")).ok()
}
