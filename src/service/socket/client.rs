//! The side of a command: asks a running daemon, one request at a time. Blocks.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::protocol::{
    Because, Request, RequestLine, Response, ResponseLine, SCAN_PAGE, VERSION, from_hex, to_hex,
};
use super::{NAME, with_short_path};
use crate::state::{Batch, Pair, State, StateError, format};

/// A connection to a running daemon.
pub struct Client {
    stream: Mutex<BufReader<UnixStream>>,
}

/// Why a daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It refused.
    #[error("{message}")]
    Refused {
        /// Whose fault it is.
        because: Because,
        /// Why.
        message: String,
    },
    /// It is gone.
    #[error("the daemon ended before it answered; ask again")]
    Gone,
    /// It cannot be spoken to.
    #[error("the daemon's socket cannot be used")]
    Io(#[from] io::Error),
}

impl Client {
    /// Connects to the daemon that owns a state directory; `None` when there is none.
    pub fn connect(state_dir: &Path) -> io::Result<Option<Self>> {
        let connected = with_short_path(state_dir, |dir| UnixStream::connect(dir.join(NAME)));
        match connected {
            Ok(stream) => Ok(Some(Client { stream: Mutex::new(BufReader::new(stream)) })),
            // a dead daemon's file refuses
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, request: Request) -> Result<Response, ClientError> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_vec(&RequestLine { v: VERSION, request }).map_err(io::Error::from)?;
        line.push(b'\n');
        let sent = stream.get_mut().write_all(&line);
        // a daemon that sends us away has answered before it was asked
        let mut answer = String::new();
        let read = stream.read_line(&mut answer);
        if answer.is_empty() {
            return match sent.and(read) {
                Err(error) if !is_gone(&error) => Err(error.into()),
                _ => Err(ClientError::Gone),
            };
        }
        match serde_json::from_str(&answer).map_err(io::Error::from)? {
            ResponseLine { response: Response::Refused { because, message }, .. } => {
                Err(ClientError::Refused { because, message })
            }
            ResponseLine { response, .. } => Ok(response),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

/// The state of a running daemon, to be read only.
pub struct RemoteState(pub Arc<Client>);

impl RemoteState {
    fn ask(&self, request: Request) -> Result<Response, StateError> {
        self.0.ask(request).map_err(|error| StateError::Io {
            what: "failed to read it from the running daemon".to_owned(),
            source: io::Error::other(error),
        })
    }
}

fn odd() -> StateError {
    StateError::Damaged { what: "the daemon answered something else than it was asked".to_owned() }
}

impl State for RemoteState {
    fn apply(&self, _batch: &Batch) -> Result<(), StateError> {
        Err(StateError::Damaged { what: "only its daemon changes the state".to_owned() })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match self.ask(Request::Get { key: to_hex(key) })? {
            Response::Value { value } => value.map(|value| from_hex(&value).map_err(|_| odd())).transpose(),
            _ => Err(odd()),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, StateError> {
        let (mut found, mut from, to) = (Vec::new(), from.to_vec(), to_hex(to));
        while found.len() < limit {
            let wanted = (limit - found.len()).min(SCAN_PAGE);
            let request = Request::Scan { from: to_hex(&from), to: to.clone(), limit: wanted };
            let Response::Pairs { pairs } = self.ask(request)? else { return Err(odd()) };
            let is_last = pairs.len() < wanted;
            for (key, value) in pairs {
                found.push((from_hex(&key).map_err(|_| odd())?, from_hex(&value).map_err(|_| odd())?));
            }
            match found.last() {
                Some((key, _)) if !is_last => from = format::successor(key),
                _ => break,
            }
        }
        Ok(found)
    }
}
