//! Loopback exchanges of a 1 KiB send: 1,280 bytes there, 192 back, without looking at a byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Cpus, EACH, Limit, time_each};
use crate::cpu;

const REQUEST: usize = 1280;
const ANSWER: usize = 192;
const READ_SIZE: usize = 256 * 1024;

pub fn measure(cpus: Cpus) -> Result<Vec<Limit>> {
    let same = Cpus { load: cpus.server, ..cpus };
    Ok(vec![
        Limit::of_median("loopback ping-pong 1280/192 B, two cpus", &ping_pong(cpus)?),
        Limit::of_median("loopback ping-pong 1280/192 B, one cpu", &ping_pong(same)?),
        stream("loopback, one write per frame, window 64", 64, 1, cpus)?,
        stream("loopback, coalesced writes, window 64", 64, 64, cpus)?,
        stream("loopback, coalesced writes, window 256", 256, 256, cpus)?,
    ])
}

fn ping_pong(cpus: Cpus) -> Result<hdrhistogram::Histogram<u64>> {
    let mut stream = connect_to_echo(cpus.server)?;
    cpu::pinned_to(cpus.load, || {
        let mut answer = [0; ANSWER];
        time_each(|| {
            stream.write_all(&[1; REQUEST])?;
            Ok(stream.read_exact(&mut answer)?)
        })
    })
}

// Keeps `window` requests unanswered, `per_write` of them in one write where that many may go.
fn stream(operation: &'static str, window: usize, per_write: usize, cpus: Cpus) -> Result<Limit> {
    let mut stream = connect_to_echo(cpus.server)?;
    cpu::pinned_to(cpus.load, || {
        let requests = vec![1; per_write * REQUEST];
        let mut answers = vec![0; READ_SIZE];
        let (mut may_go, mut answered_bytes) = (window, 0_usize);
        let begin = Instant::now();
        while begin.elapsed() < EACH {
            while may_go > 0 {
                let count = may_go.min(per_write);
                stream.write_all(&requests[..count * REQUEST])?;
                may_go -= count;
            }
            let before = answered_bytes / ANSWER;
            answered_bytes += stream.read(&mut answers)?;
            may_go += answered_bytes / ANSWER - before;
        }
        Ok(Limit::of_mean(operation, (answered_bytes / ANSWER) as u64, begin.elapsed()))
    })
}

// The echo runs until its client closes.
fn connect_to_echo(server_cpu: usize) -> Result<TcpStream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        cpu::pin(server_cpu)?;
        echo(stream)
    });
    let stream = TcpStream::connect(address).context("connect to loopback")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn echo(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = vec![0; READ_SIZE];
    let answers = vec![2; READ_SIZE / REQUEST * ANSWER + ANSWER];
    let mut read_bytes = 0_usize;
    loop {
        let read = stream.read(&mut requests)?;
        if read == 0 {
            return Ok(());
        }
        let whole = (read_bytes + read) / REQUEST;
        read_bytes = (read_bytes + read) % REQUEST;
        stream.write_all(&answers[..whole * ANSWER])?;
    }
}
