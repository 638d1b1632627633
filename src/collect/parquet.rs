//! An object in Parquet: spooled to a file, since it is read at any place, and split as the text
//! that it stands for.
//!
//! The file has no name, so nothing is left of it, however the process ends. It is read by a
//! thread of its own, which ends when nobody takes its text, and is joined.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::io::StreamReader;

use super::{Interrupt, Run, content};
use crate::decode::parquet::{Limits, ParquetError, ParquetText};
use crate::failure::{self, Class, Failure};
use crate::record::LogType;

/// Bytes spooled at a time.
const PIECE: usize = 128 * 1024;
/// Pieces of text that wait to be split.
const AHEAD: usize = 2;

impl Run<'_> {
    /// Splits the object whose stored bytes `object` brings.
    pub(super) async fn read_parquet(
        &mut self,
        object: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), Interrupt> {
        let settings = &self.collector.settings;
        if settings.log_type != LogType::VpcFlow {
            let log_type = settings.log_type.word();
            return Err(content(format!("the object is Parquet, which {log_type} objects are not")));
        }
        let limits = Limits { max_page_bytes: settings.max_page_bytes, text: settings.inflate };
        let file = self.spool(object).await?;
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let mut thread = JoinSet::new();
        thread.spawn_blocking(move || send_text(file, limits, &sender));
        let mut text = StreamReader::new(stream::poll_fn(|cx| receiver.poll_recv(cx)));
        let split = self.split(&mut text).await;
        drop(text);
        drop(receiver);
        match thread.join_next().await {
            Some(Ok(written)) => self.work.inflated += written,
            // A thread that panicked ends its text early: the object is not complete.
            Some(Err(error)) => return Err(content(format!("the Parquet object cannot be read: {error}"))),
            None => {}
        }
        split
    }

    /// The stored bytes as a file.
    async fn spool(&self, object: &mut (impl AsyncRead + Unpin)) -> Result<File, Interrupt> {
        let folder = &self.collector.settings.spool_dir;
        let failed = |error: io::Error| {
            let reason = format!("failed to spool the object to {}: {error}", folder.display());
            Interrupt::Failure(Failure::new(Class::Transient, reason), None)
        };
        let mut file = tokio::fs::File::from_std(nameless(folder).map_err(failed)?);
        let mut piece = vec![0; PIECE];
        loop {
            let read = self.in_time(object.read(&mut piece)).await?;
            let read = read.map_err(|error| self.classify(error))?;
            if read == 0 {
                break;
            }
            file.write_all(&piece[..read]).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(file.into_std().await)
    }
}

/// A new file without a name, for its owner alone.
fn nameless(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("spool-{:016x}", fastrand::u64(..)));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Sends the text of a file, or why there is no more of it, until nobody takes it; returns how
/// many bytes were taken.
fn send_text(file: File, limits: Limits, sender: &mpsc::Sender<io::Result<Bytes>>) -> u64 {
    let mut taken = 0;
    let mut send = |piece: io::Result<Bytes>| {
        let length = piece.as_ref().map_or(0, Bytes::len) as u64;
        let sent = sender.blocking_send(piece).is_ok();
        taken += if sent { length } else { 0 };
        sent
    };
    let read = || -> Result<(), ParquetError> {
        let mut text = ParquetText::open(file, limits)?;
        loop {
            let mut piece = Vec::new();
            if !text.read(&mut piece)? || !send(Ok(piece.into())) {
                return Ok(());
            }
        }
    };
    if let Err(error) = read() {
        send(Err(io::Error::other(error)));
    }
    taken
}

/// What follows from an error of the text: one of the file is the disk's, any other the object's.
/// `None` for other errors.
pub(super) fn interrupt_of(error: &io::Error) -> Option<Interrupt> {
    let error = error.get_ref()?.downcast_ref::<ParquetError>()?;
    let class = match error {
        ParquetError::Read(_) => Class::Transient,
        ParquetError::Damaged { .. }
        | ParquetError::Unread { .. }
        | ParquetError::TooLarge { .. }
        | ParquetError::Text(_) => Class::Content,
    };
    Some(Interrupt::Failure(Failure::new(class, failure::chain(error)), None))
}
