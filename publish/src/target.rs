//! The object store.

use std::env;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::{
    Attribute, AttributeValue, Attributes, ObjectStore, ObjectStoreExt as _, PutOptions, parse_url_opts, path::Path,
};
use url::Url;

use crate::problem::Problem;

/// How long others may keep a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// It never changes.
    Immutable,
    /// It is asked for each time whether it has changed.
    Revalidated,
    /// For some minutes: less than half the time that any CRL holds, so that none is kept beyond its nextUpdate, and a revocation is
    /// seen soon.
    Minutes,
}

impl Caching {
    /// The header's value (RFC 9111, RFC 8246).
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Revalidated => "no-cache",
            Self::Minutes => "public, max-age=240, must-revalidate",
        }
    }
}

/// A place in an object store.
#[derive(Debug)]
pub(crate) struct Target {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    /// A file system keeps no headers.
    keeps_headers: bool,
}

impl Target {
    /// The place that a URL names; variables that begin with `AWS_` say the rest.
    pub(crate) fn open(named: &str) -> Result<Self, Problem> {
        let wrong = |sentence: String| Problem::Store { url: named.to_owned(), sentence };
        let url = Url::parse(named).map_err(|error| wrong(error.to_string()))?;
        let variables = env::vars().filter(|(name, _)| name.starts_with("AWS_"));
        let variables = variables.map(|(name, value)| (name.to_lowercase(), value));
        let (store, prefix) = parse_url_opts(&url, variables).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { store, prefix, keeps_headers: url.scheme() != "file" })
    }

    /// Writes an object whole.
    pub(crate) async fn put(&self, path: &str, content: Vec<u8>, caching: Caching) -> Result<(), Problem> {
        let text = AttributeValue::from("text/plain; charset=utf-8");
        let kind = match path.split_once('/') {
            Some(("tile", _)) => AttributeValue::from("application/octet-stream"),
            Some(("crl", _)) => AttributeValue::from("application/pkix-crl"),
            Some(_) | None => text,
        };
        let headers =
            [(Attribute::CacheControl, AttributeValue::from(caching.header())), (Attribute::ContentType, kind)];
        let attributes: Attributes = headers.into_iter().filter(|_| self.keeps_headers).collect();
        let options = PutOptions { attributes, ..PutOptions::default() };
        let put = self.store.put_opts(&self.place(path), Bytes::from(content).into(), options).await;
        put.map(drop).map_err(|source| Problem::Target { path: path.to_owned(), source })
    }

    /// Reads an object; nothing where there is none.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        let failed = |source| Problem::Target { path: path.to_owned(), source };
        match self.store.get(&self.place(path)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The paths of all objects below a directory.
    pub(crate) async fn list(&self, directory: &str) -> Result<Vec<String>, Problem> {
        let failed = |source| Problem::Target { path: directory.to_owned(), source };
        let found: Vec<_> = self.store.list(Some(&self.place(directory))).try_collect().await.map_err(failed)?;
        Ok(found.into_iter().filter_map(|object| self.below(&object.location)).collect())
    }

    /// Whether there is anything below a directory.
    pub(crate) async fn has_any(&self, directory: &str) -> Result<bool, Problem> {
        let failed = |source| Problem::Target { path: directory.to_owned(), source };
        let first = self.store.list(Some(&self.place(directory))).try_next().await.map_err(failed)?;
        Ok(first.is_some())
    }

    /// A path as it is named here.
    fn below(&self, location: &Path) -> Option<String> {
        let parts: Vec<String> = location.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }

    /// Removes an object, if it is there.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Problem> {
        match self.store.delete(&self.place(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Problem::Target { path: path.to_owned(), source }),
        }
    }

    fn place(&self, path: &str) -> Path {
        path.split('/').fold(self.prefix.clone(), |place, part| place.join(part))
    }
}
