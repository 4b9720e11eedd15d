//! Bundles: a folder or .tar.gz of what an API server and probes said. Raw answers, so a bundle exercises the real parsers.
