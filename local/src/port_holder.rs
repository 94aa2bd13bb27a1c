//! Which process listens on a port, as far as /proc shows it to us: for messages only.

use std::fs;
use std::path::Path;

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    pub pid: u32,
    /// The name of its command, cut by the system to 15 bytes.
    pub command: String,
}

/// Finds the process that listens on a TCP port; `None` when it belongs to another user, or to another
/// container, or has just gone.
pub(crate) fn port_holder(port: u16) -> Option<PortHolder> {
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = sockets.iter().find_map(|path| listening_inode(&fs::read_to_string(path).ok()?, port))?;
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| holds(*pid, &link))?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(PortHolder { pid, command: command.trim_end().to_owned() })
}

/// Reads a table of sockets: `sl local_address rem_address st ... inode ...`, numbers in hexadecimal but for
/// the inode; state `0A` listens.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    let address_ends = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let listens = columns.get(1)?.ends_with(&address_ends) && *columns.get(3)? == "0A";
        if listens { columns.get(9)?.parse().ok() } else { None }
    })
}

fn holds(pid: u32, link: &str) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors
        .into_iter()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(link)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found_and_a_connection_is_none() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:2694 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 20 4 30 10 -1\n\
            1: 0100007F:2694 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 100 0 0 10 0\n";
        assert_eq!(listening_inode(table, 9876), Some(222));
        assert_eq!(listening_inode(table, 9877), None);
        assert_eq!(listening_inode("", 9876), None);
    }

    #[test]
    fn our_own_listener_is_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = port_holder(listener.local_addr().unwrap().port()).unwrap();
        assert_eq!(holder.pid, std::process::id());
    }
}
