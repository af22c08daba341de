//! The HTTP port: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever runs the node.
//!
//! - `/livez`: the process works.
//! - `/readyz`: this node has its place in the cluster and has opened its replicas. It says nothing of the others: a node
//!   that waits for a majority is not to be restarted for that.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use quorate_cluster_config::Address;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{cluster::Cluster, metrics};

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may last, requests and answers included.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// How long the header of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes read ahead of a connection.
const BUFFER_BYTES: usize = 16 << 10;
/// After an error of `accept` (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens.
pub(crate) async fn listen(address: &Address) -> io::Result<TcpListener> {
    TcpListener::bind((address.host(), address.port())).await
}

/// Answers until the node stops.
pub(crate) async fn serve(listener: TcpListener, cluster: Arc<Cluster>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = room.clone().acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let cluster = cluster.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(cluster.clone(), request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_TIMEOUT)
                        .max_buf_size(BUFFER_BYTES)
                        .serve_connection(TokioIo::new(stream), service);
                    // Whoever asks may go away at any time.
                    drop(tokio::time::timeout(CONNECTION_MAX, connection).await);
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the HTTP port cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(cluster: Arc<Cluster>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let head = request.method() == Method::HEAD;
    if !head && request.method() != Method::GET {
        return Ok(response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered here\n".to_owned()));
    }
    let response = match request.uri().path() {
        "/livez" => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match not_ready(&cluster) {
            None => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
            Some(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/metrics" => {
            // With many partitions this takes a while: not on the threads that must not block.
            let rendered = tokio::task::spawn_blocking(move || metrics::render(&cluster)).await;
            match rendered {
                Ok(text) => response(StatusCode::OK, OPEN_METRICS, text),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            }
        }
        _ => response(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /livez and /readyz\n".to_owned()),
    };
    Ok(response)
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    response
}

/// Why this node is not to be asked yet, or no longer.
fn not_ready(cluster: &Cluster) -> Option<String> {
    let Some(member) = cluster.member() else { return Some("the node is not part of a cluster yet".to_owned()) };
    if member.metadata.state().node(member.identity.node).is_none() {
        return Some("the node has not received the metadata of its cluster yet".to_owned());
    }
    match member.replicas.starting() {
        0 => None,
        count => Some(format!("{count} replicas are still being opened")),
    }
}
