//! Connections that carry requests, by the inode number of their socket.

use std::collections::VecDeque;

use whyslow_abi::{connection::ConnectionState, record::REQUEST_CAPTURE, totals::Totals};

use super::{ThreadKey, request::OpenRequest};
use crate::{hash::FastMap, protocol::body::BodyTracker};

/// Bytes that were read beyond a request's end: the front of the next one (pipelining).
#[derive(Clone, Debug, Default)]
pub(crate) struct Surplus {
    pub(crate) bytes: Vec<u8>,
    /// More were read than could be kept.
    pub(crate) cut: bool,
    /// When they were read.
    pub(crate) read_ns: u64,
}

impl Surplus {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.cut
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.cut = false;
    }

    /// Takes what lies beyond `end` of a read at `offset` of which `bytes` were captured.
    pub(crate) fn collect(&mut self, end: u64, offset: u64, bytes: &[u8], read: u64, now_ns: u64) {
        let captured_end = offset.saturating_add(bytes.len() as u64);
        if offset.saturating_add(read) <= end {
            return;
        }
        if self.is_empty() {
            self.read_ns = now_ns;
        }
        let from = end.max(offset);
        if from < captured_end {
            let more = &bytes[(from - offset) as usize..];
            let contiguous = from == end.saturating_add(self.bytes.len() as u64);
            if contiguous && !self.cut && self.bytes.len() + more.len() <= REQUEST_CAPTURE {
                self.bytes.extend_from_slice(more);
            } else {
                self.cut = true;
            }
        }
        self.cut |= bytes.len() as u64 != read;
    }
}

/// Where the last response ended: the begin of a pipelined request.
#[derive(Clone, Debug)]
pub(crate) struct LastWrite {
    pub(crate) ns: u64,
    pub(crate) writer: ThreadKey,
    pub(crate) totals: Totals,
}

impl From<&ConnectionState> for LastWrite {
    fn from(state: &ConnectionState) -> Self {
        Self {
            ns: state.last_write_ns,
            writer: ThreadKey::of_writer(state),
            totals: state.totals,
        }
    }
}

/// A body of which the rest is read after its request was finished (early response).
#[derive(Clone, Debug)]
pub(crate) struct UnreadBody {
    pub(crate) body: BodyTracker,
    /// Bytes read before the kernel side's present count.
    pub(crate) base: u64,
    /// Bytes read by now.
    pub(crate) read: u64,
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    pub(crate) tgid: u32,
    pub(crate) fd: i32,
    /// Address of the client; empty: not known.
    pub(crate) client: String,
    /// The request that is open on it.
    pub(crate) open: Option<Box<OpenRequest>>,
    /// Number of the last request that began.
    pub(crate) number: u32,
    /// Number of the last request that was finished or given up.
    pub(crate) finished: u32,
    pub(crate) surplus: Surplus,
    pub(crate) last_write: Option<Box<LastWrite>>,
    pub(crate) unread: Option<Box<UnreadBody>>,
    /// Its descriptor means another connection by now.
    pub(crate) stale: bool,
    /// Its process is gone.
    pub(crate) dead: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    map: FastMap<u64, Connection>,
    /// Work of threads on what others have read, by its id.
    works: FastMap<u64, Box<OpenRequest>>,
    by_fd: FastMap<(u32, i32), u64>,
    /// In the order they came; some are gone. For eviction.
    order: VecDeque<u64>,
    open: usize,
}

impl Connections {
    pub(crate) fn get(&self, id: u64) -> Option<&Connection> {
        self.map.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Connection> {
        self.map.get_mut(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Requests open.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// The request open on `id`; or the work with that id.
    pub(crate) fn request(&self, id: u64) -> Option<&OpenRequest> {
        match self.map.get(&id) {
            Some(connection) => connection.open.as_deref(),
            None => self.works.get(&id).map(AsRef::as_ref),
        }
    }

    /// As [`Connections::request`].
    pub(crate) fn request_mut(&mut self, id: u64) -> Option<&mut OpenRequest> {
        match self.map.get_mut(&id) {
            Some(connection) => connection.open.as_deref_mut(),
            None => self.works.get_mut(&id).map(AsMut::as_mut),
        }
    }

    /// Adds the work of a thread.
    pub(crate) fn add_work(&mut self, id: u64, work: Box<OpenRequest>) {
        self.works.insert(id, work);
    }

    /// Forgets it.
    pub(crate) fn remove_work(&mut self, id: u64) {
        self.works.remove(&id);
    }

    /// Whether this very request is open.
    pub(crate) fn is_open(&self, (id, serial): (u64, u64)) -> bool {
        self.request(id).is_some_and(|r| r.serial == serial)
    }

    /// Notes that `fd` of `tgid` is connection `id`; returns the one that it was before.
    pub(crate) fn bind(&mut self, tgid: u32, fd: i32, id: u64) -> Option<u64> {
        self.by_fd.insert((tgid, fd), id).filter(|old| *old != id)
    }

    /// Adds an empty one.
    pub(crate) fn insert(&mut self, id: u64, tgid: u32, fd: i32) {
        if self.order.len() >= self.map.len() * 2 + 64 {
            let map = &self.map;
            self.order.retain(|id| map.contains_key(id));
        }
        self.order.push_back(id);
        self.map.insert(
            id,
            Connection {
                tgid,
                fd,
                ..Connection::default()
            },
        );
    }

    /// Puts a request on a connection that has none.
    pub(crate) fn put(&mut self, id: u64, request: Box<OpenRequest>) {
        if let Some(connection) = self.map.get_mut(&id) {
            connection.number = request.number;
            connection.open = Some(request);
            self.open += 1;
        }
    }

    /// Takes the open request off: it is finished.
    pub(crate) fn take(&mut self, id: u64) -> Option<Box<OpenRequest>> {
        let connection = self.map.get_mut(&id)?;
        let request = connection.open.take()?;
        connection.finished = request.number;
        self.open -= 1;
        Some(request)
    }

    /// Forgets a connection that has no open request.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.map.remove(&id)?;
        if connection.open.is_some() {
            self.open -= 1;
        }
        let key = (connection.tgid, connection.fd);
        if self.by_fd.get(&key) == Some(&id) {
            self.by_fd.remove(&key);
        }
        Some(connection)
    }

    /// The oldest one without an open request.
    pub(crate) fn oldest_idle(&mut self) -> Option<u64> {
        for _ in 0..self.order.len() {
            let id = self.order.pop_front()?;
            match self.map.get(&id) {
                Some(connection) if connection.open.is_none() => return Some(id),
                Some(_) => self.order.push_back(id),
                None => {}
            }
        }
        None
    }

    /// Connections of a process, ascending.
    pub(crate) fn of_process(&self, tgid: u32) -> Vec<u64> {
        let mut ids: Vec<u64> = self
            .map
            .iter()
            .filter(|(_, c)| c.tgid == tgid)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Connections with an open request, in no order that matters.
    pub(crate) fn iter_open(&self) -> impl Iterator<Item = (u64, &OpenRequest)> {
        self.map
            .iter()
            .filter_map(|(id, c)| Some((*id, c.open.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surplus_is_what_lies_beyond_the_end() {
        let mut surplus = Surplus::default();
        surplus.collect(10, 0, b"0123456789", 10, 1);
        assert!(surplus.is_empty());
        surplus.collect(4, 0, b"headGET ", 8, 2);
        assert_eq!(
            (surplus.bytes.as_slice(), surplus.cut),
            (&b"GET "[..], false)
        );
        surplus.collect(4, 8, b"/ HT", 4, 3);
        assert_eq!(surplus.bytes, b"GET / HT");
        assert_eq!(surplus.read_ns, 2);
        surplus.collect(4, 20, b"zz", 2, 4);
        assert!(surplus.cut);
        assert_eq!(surplus.bytes, b"GET / HT");
    }

    #[test]
    fn a_cut_read_cuts_the_surplus() {
        let mut surplus = Surplus::default();
        surplus.collect(4, 0, b"he", 4, 1);
        assert!(surplus.is_empty());
        surplus.collect(4, 0, b"headGE", 90, 1);
        assert_eq!((surplus.bytes.as_slice(), surplus.cut), (&b"GE"[..], true));
        let mut large = Surplus::default();
        large.collect(0, 0, &vec![b'x'; REQUEST_CAPTURE + 1], 8193, 1);
        assert!(large.cut && large.bytes.is_empty());
    }

    #[test]
    fn descriptors_and_eviction() {
        let mut connections = Connections::default();
        for id in 0..10 {
            connections.insert(id, 1, id as i32);
            connections.bind(1, id as i32, id);
        }
        assert_eq!(connections.bind(1, 3, 3), None);
        assert_eq!(connections.bind(1, 3, 99), Some(3));
        assert_eq!(connections.oldest_idle(), Some(0));
        connections.remove(0);
        assert_eq!(connections.oldest_idle(), Some(1));
        assert_eq!(connections.of_process(1).len(), 9);
    }
}
