//! The HTTP port of a member: probes and metrics, asked as plainly as can be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Returns status line, headers and body as they come; `None` when nobody answers.
pub fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Says whether a member answers its readiness probe with yes.
pub fn is_ready(port: u16) -> bool {
    get(port, "/readyz").is_some_and(|answer| answer.contains(" 200 "))
}

/// Returns the sum of a metric over all labels that contain `labels`; `None` when nobody answers or has it.
pub fn metric(port: u16, name: &str, labels: &str) -> Option<f64> {
    sum(&get(port, "/metrics")?, name, labels)
}

fn sum(text: &str, name: &str, labels: &str) -> Option<f64> {
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    let ours = lines.filter(|line| matches!(line.as_bytes().get(name.len()), Some(b'{' | b' ')));
    let values: Vec<f64> = ours.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_told_from_one_with_a_longer_name() {
        let text = "# HELP x y\nlag{a=\"1\"} 3\nlag{a=\"2\"} 4.5\nlag_bytes 7\nup 1\n";
        assert_eq!(sum(text, "lag", ""), Some(7.5));
        assert_eq!(sum(text, "lag", "a=\"2\""), Some(4.5));
        assert_eq!(sum(text, "lag_bytes", ""), Some(7.0));
        assert_eq!(sum(text, "gone", ""), None);
    }
}
