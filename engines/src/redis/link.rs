//! One connection, made when it is needed and again after a failure.

use std::time::Duration;

use imflow_kind::ReplicaError;
use redis::{Client, Connection, RedisError};

/// A server, and the connection to it while there is one.
pub(super) struct Link {
    client: Client,
    connection: Option<Connection>,
    /// How long the server is waited for.
    timeout: Duration,
}

impl Link {
    /// Not connected yet.
    ///
    /// # Errors
    /// When the address is none, as a sentence.
    pub(super) fn new(uri: &str, timeout: Duration) -> Result<Self, String> {
        let client = Client::open(uri).map_err(|error| {
            format!(
                "`uri` is not the address of a Redis server: {}; write it as redis://HOST:PORT/DATABASE",
                error.category()
            )
        })?;
        Ok(Self { client, connection: None, timeout })
    }

    /// Makes one call; whatever fails costs the connection, since an answer may still be on its way.
    pub(super) fn call<T>(
        &mut self,
        doing: &str,
        call: impl FnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, ReplicaError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(|error| failure("connect", &error))?,
        };
        let answer = call(&mut connection).map_err(|error| failure(doing, &error))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// A connection of one's own.
    pub(super) fn connect(&self) -> Result<Connection, RedisError> {
        let timeout = self.timeout;
        let connection = self.client.get_connection_with_timeout(timeout)?;
        connection.set_read_timeout(Some(timeout))?;
        connection.set_write_timeout(Some(timeout))?;
        Ok(connection)
    }
}

pub(super) fn failure(doing: &str, error: &RedisError) -> ReplicaError {
    ReplicaError(format!("Redis: {doing}: {error}"))
}
