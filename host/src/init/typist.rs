//! What is typed into a terminal, counted where it is written: a client that comes back, on whatever way, learns how much of its
//! input the terminal has taken, and sends the rest again. So nothing is lost or typed twice, whoever in between has died.

use super::pty::Pty;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use uuid::Uuid;

/// Clients whose input is counted; the one that was longest away goes first.
const MOST_CLIENTS: usize = 256;

/// Who types: a page that reconnects is the same client of the same terminal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub terminal: String,
    pub id: Uuid,
}

/// How much of whose input was taken, since the pod has started.
#[derive(Default)]
pub struct Clients {
    known: Mutex<HashMap<Client, Known>>,
}

struct Known {
    count: Arc<Mutex<Count>>,
    /// Rises with every connection of any client: the lowest was longest away.
    used: u64,
}

#[derive(Default)]
struct Count {
    /// Rises with every connection of this client; an older one types nothing any more.
    connection: u64,
    /// The last connection's, while it is there.
    pty: Weak<Pty>,
    bytes: u64,
}

/// One connection's share in its client's count.
pub struct Typist {
    count: Arc<Mutex<Count>>,
    connection: u64,
}

/// Why no more is typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Over {
    /// Another connection of this client has taken over.
    Elsewhere,
    /// The terminal takes nothing any more.
    Ended,
}

impl Clients {
    /// This connection's share, where the client had typed until now if that is there still, and how much; None if nothing is known of it.
    pub fn connect(&self, client: Client, pty: &Arc<Pty>) -> (Typist, Option<Arc<Pty>>, Option<u64>) {
        let (typist, old, bytes) = self.take_over(client, Arc::downgrade(pty));
        (typist, old.upgrade(), bytes)
    }

    fn take_over(&self, client: Client, pty: Weak<Pty>) -> (Typist, Weak<Pty>, Option<u64>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let used = known.values().map(|known| known.used).max().unwrap_or(0) + 1;
        if known.len() >= MOST_CLIENTS && !known.contains_key(&client) {
            let oldest = known.iter().min_by_key(|(_, known)| known.used).map(|(client, _)| client.clone());
            oldest.map(|oldest| known.remove(&oldest));
        }
        let is_known = known.contains_key(&client);
        let entry = known.entry(client).or_insert_with(|| Known { count: Arc::default(), used });
        entry.used = used;
        let count = entry.count.clone();
        let (connection, old, bytes) = {
            let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
            count.connection += 1;
            (count.connection, std::mem::replace(&mut count.pty, pty), count.bytes)
        };
        (Typist { count, connection }, old, is_known.then_some(bytes))
    }
}

impl Typist {
    /// Of somebody who does not come back as the same client.
    pub fn nameless() -> Self {
        Self { count: Arc::default(), connection: 0 }
    }

    /// Writes all of it; how much the client has typed by then.
    pub async fn write(&self, pty: &Pty, mut data: &[u8]) -> Result<u64, Over> {
        loop {
            let mut ready = pty.writable().await.map_err(|_| Over::Ended)?;
            // Writing and counting are one step: whoever takes over, before or after it, is told what is true.
            let written = self.step(|| ready.write(data))?;
            match written {
                Some(Ok((written, total))) => {
                    data = &data[written..];
                    if data.is_empty() {
                        return Ok(total);
                    }
                }
                Some(Err(_)) => return Err(Over::Ended),
                // It was not ready after all.
                None => {}
            }
        }
    }

    fn step(&self, write: impl FnOnce() -> Option<io::Result<usize>>) -> Result<Option<io::Result<(usize, u64)>>, Over> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.connection != self.connection {
            return Err(Over::Elsewhere);
        }
        Ok(write().map(|written| {
            written.map(|written| {
                count.bytes += written as u64;
                (written, count.bytes)
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: u128) -> Client {
        Client { terminal: "main".to_owned(), id: Uuid::from_u128(id) }
    }

    fn connect(clients: &Clients, id: u128) -> (Typist, Option<u64>) {
        let (typist, _, before) = clients.take_over(client(id), Weak::new());
        (typist, before)
    }

    fn write(typist: &Typist, bytes: usize) -> Result<u64, Over> {
        typist.step(|| Some(Ok(bytes))).map(|written| written.expect("ready").expect("written").1)
    }

    #[test]
    fn a_client_that_comes_back_learns_what_was_taken_and_its_old_connection_types_no_more() {
        let clients = Clients::default();
        let (old, before) = connect(&clients, 1);
        assert_eq!(before, None);
        assert_eq!(write(&old, 3), Ok(3));
        assert!(matches!(old.step(|| None), Ok(None)), "what was not taken is not counted");
        let (new, before) = connect(&clients, 1);
        assert_eq!(before, Some(3));
        assert_eq!(write(&old, 2), Err(Over::Elsewhere));
        assert_eq!(write(&new, 2), Ok(5));
        assert_eq!(connect(&clients, 2).1, None, "another client is counted by itself");
    }

    #[test]
    fn so_many_clients_are_known_and_the_longest_away_goes() {
        let clients = Clients::default();
        for id in 0..MOST_CLIENTS as u128 {
            connect(&clients, id);
        }
        connect(&clients, 0);
        connect(&clients, u128::MAX);
        let known = clients.known.lock().unwrap();
        assert_eq!(known.len(), MOST_CLIENTS);
        assert!(known.contains_key(&client(0)) && !known.contains_key(&client(1)));
    }
}
