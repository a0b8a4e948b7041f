// SPDX-License-Identifier: GPL-2.0

//! A small HTTP server for scrapers: one request at a time, each with a time limit and a size.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::prometheus::{self, CONTENT_TYPE};
use crate::error::{plain, Error, Result};
use crate::source::Source;

/// The time limit for the request, and for the answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The maximum size of a request, in bytes.
const MAX_REQUEST: usize = 8192;

/// The interval at which the server checks whether the program should end.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the snapshots of `source` at `address` until `stop` returns `true`. `ready` gets the bound
/// address.
///
/// # Errors
///
/// If the program can't listen at the address.
pub fn serve(
    source: &mut dyn Source,
    address: &str,
    ready: impl FnOnce(String),
    stop: impl Fn() -> bool,
) -> Result<()> {
    let failed = |e: std::io::Error| Error::Io(format!("can't listen at {address}: {}", plain(&e)));
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    ready(listener.local_addr().map_err(failed)?.to_string());

    while !stop() {
        match listener.accept() {
            // An error of one client doesn't end the server.
            Ok((stream, _)) => drop(answer(source, stream)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    Ok(())
}

fn answer(source: &mut dyn Source, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;

    let (status, kind, body) = match request(&mut stream)?.as_deref() {
        Some("/metrics") => match source.next() {
            Ok(snapshot) => {
                let text = prometheus::snapshot(&snapshot.unwrap_or_default());
                ("200 OK", CONTENT_TYPE, text)
            }
            Err(error) => (
                "500 Internal Server Error",
                "text/plain",
                format!("{error}\n"),
            ),
        },
        Some("/") => (
            "200 OK",
            "text/html",
            "<a href=\"/metrics\">metrics</a>\n".into(),
        ),
        Some(_) => (
            "404 Not Found",
            "text/plain",
            "there is /metrics only\n".into(),
        ),
        None => (
            "400 Bad Request",
            "text/plain",
            "not a GET request\n".into(),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

/// The path of a GET request; `None` for any other request.
fn request(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let end = Instant::now() + LIMIT;
    let mut bytes = Vec::new();
    let mut part = [0; 1024];
    while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
        let length = stream.read(&mut part)?;
        bytes.extend_from_slice(part.get(..length).unwrap_or_default());
        if length == 0 || bytes.len() > MAX_REQUEST || Instant::now() > end {
            return Ok(None);
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    Ok(match (words.next(), words.next(), words.next()) {
        (Some("GET"), Some(path), Some(version)) if version.starts_with("HTTP/1.") => {
            Some(path.split('?').next().unwrap_or_default().to_string())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::tests::snapshot;
    use crate::model::snapshot::Snapshot;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    struct Fixed;

    impl Source for Fixed {
        fn next(&mut self) -> Result<Option<Snapshot>> {
            Ok(Some(snapshot(1, 1500)))
        }
    }

    fn ask(address: &str, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    }

    #[test]
    fn answers() {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (send, receive) = mpsc::channel();
            let stop = &stop;
            let server = scope.spawn(move || {
                let ready = |address| send.send(address).unwrap();
                serve(&mut Fixed, "127.0.0.1:0", ready, || {
                    stop.load(Ordering::Relaxed)
                })
            });
            let address = receive.recv().unwrap();
            let metrics = ask(&address, "GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
            let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert!(body.contains("rnvme_queue_completed_total"));
            for (request, status) in [
                ("GET /other HTTP/1.1\r\n\r\n", "404"),
                ("POST /metrics HTTP/1.1\r\n\r\n", "400"),
                ("GET /metrics\r\n\r\n", "400"),
                ("\u{1}\u{2}", "400"),
                ("GET / HTTP/1.0\r\n\r\n", "200"),
            ] {
                let text = ask(&address, request);
                assert!(
                    text.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{request}: {text}"
                );
            }
            // A client that disconnects without a request has no effect.
            drop(TcpStream::connect(&address));
            assert!(ask(&address, &"x".repeat(MAX_REQUEST + 2000)).len() < 1000);
            assert!(ask(&address, "GET / HTTP/1.0\r\n\r\n").contains("200"));
            stop.store(true, Ordering::Relaxed);
            server.join().unwrap().unwrap();
        });
    }

    #[test]
    fn addresses_that_cannot_be() {
        let error = serve(&mut Fixed, "nonsense", |_| (), || true).unwrap_err();
        assert_eq!(error.code(), 1);
    }
}
