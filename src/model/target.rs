//! The method, host and path of a request, parsed once.
