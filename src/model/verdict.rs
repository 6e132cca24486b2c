//! What becomes of a request, and why: the words by which logs, metrics, answers and reports say the same thing.

use super::words::words;

words! {
    /// What was decided of a request.
    Verdict {
        /// It goes on.
        Allow = "allow",
        /// It is refused, and signing in may help: the caller is anonymous, or the credential is invalid.
        Challenge = "challenge",
        /// It is refused.
        Deny = "deny",
        /// It is refused because it could not be decided.
        Error = "error",
        /// Its client left before there was one.
        None = "none",
        /// It is for a page or address of the gateway itself.
        Own = "own",
        /// It goes on, and would be refused if its rules were enforced.
        Shadow = "shadow",
    }

    /// What the access log has in place of a rule's name, where something else decided.
    DecidedWithoutRule {
        /// Rules are switched off (`enforce = "off"`).
        EnforceOff = "enforce-off",
        /// It is a preflight of a page that is trusted (Fetch, 4.8).
        CorsPreflight = "cors-preflight",
    }

    /// Why a request was not answered as wanted; stable, for programs: `urn:doorward:problem:<code>`.
    Code {
        /// The second address that the request names cannot be read in one way only.
        BadDestination = "bad-destination",
        /// Where the message ends can be understood in more than one way.
        BadFraming = "bad-framing",
        /// A form or request that makes no sense.
        BadRequest = "bad-request",
        /// The target can be read in more than one way.
        BadTarget = "bad-target",
        /// The body broke off or cannot be read.
        BodyIncomplete = "body-incomplete",
        /// The body is larger than what is read here.
        BodyTooLarge = "body-too-large",
        /// Too many people are at our own pages.
        Busy = "busy",
        /// What was to be made exists already.
        Conflict = "conflict",
        /// The gateway is stopping.
        Draining = "draining",
        /// The rules do not allow it to this caller.
        Forbidden = "forbidden",
        /// The second address leads to another application.
        ForeignDestination = "foreign-destination",
        /// A header for API keys holds something that is not ours.
        ForeignKey = "foreign-key",
        /// It was sent by a page of another origin.
        ForeignOrigin = "foreign-origin",
        /// The head is too large.
        HeaderTooLarge = "header-too-large",
        /// What the application would be told of the caller is too large for the proxy that asks.
        IdentityTooLarge = "identity-too-large",
        /// A fault of the gateway.
        Internal = "internal",
        /// A value is not accepted.
        Invalid = "invalid",
        /// A credential other than a key, a token or a session identifies no one here.
        InvalidCredential = "invalid-credential",
        /// The API key is not valid.
        InvalidKey = "invalid-key",
        /// The bearer token is not valid.
        InvalidToken = "invalid-token",
        /// Only a key counts here, and a session was presented.
        KeyRequired = "key-required",
        /// The key is limited to other paths, methods or networks.
        KeyScope = "key-scope",
        /// It would leave no admin.
        LastAdmin = "last-admin",
        /// The address does not have this method.
        MethodNotAllowed = "method-not-allowed",
        /// A key stands in a header that is not for it.
        MisplacedKey = "misplaced-key",
        /// Too many bodies are being read to decide.
        NoRoom = "no-room",
        /// No route leads there.
        NoRoute = "no-route",
        /// A page that a browser asked for in advance, and that begins something.
        NotInAdvance = "not-in-advance",
        /// There is nothing at this address of ours.
        NotFound = "not-found",
        /// An address of another product that is not served.
        NotTakenOver = "not-taken-over",
        /// The name of a header may be read as another one.
        OddHeader = "odd-header",
        /// The path has a spelling that the route does not allow.
        OddPath = "odd-path",
        /// What the connection is to become can be read in more than one way.
        OddUpgrade = "odd-upgrade",
        /// A page for people that a script or frame has asked for.
        OpenedByScript = "opened-by-script",
        /// The password is temporary and must be changed first.
        PasswordChangeRequired = "password-change-required",
        /// Passwords are not accepted.
        PasswordLoginOff = "password-login-off",
        /// A key or token at a page for people.
        PeopleOnly = "people-only",
        /// The provider, or the person there, said no.
        ProviderDenied = "provider-denied",
        /// The settings here and those at the provider do not agree.
        ProviderMisconfigured = "provider-misconfigured",
        /// The provider cannot be reached, or does not answer properly.
        ProviderUnavailable = "provider-unavailable",
        /// The request did not arrive in time.
        RequestTimeout = "request-timeout",
        /// The session has ended.
        SessionEnded = "session-ended",
        /// The set-up link does not work.
        SetupLinkInvalid = "setup-link-invalid",
        /// More than one credential was presented.
        SeveralCredentials = "several-credentials",
        /// Signing in would lead round in circles.
        SignInLoop = "sign-in-loop",
        /// The provider knows the person, who is not let in here.
        SignInRefused = "sign-in-refused",
        /// The caller is anonymous, and the rules require a principal.
        SignInRequired = "sign-in-required",
        /// What came back belongs to no sign-in that the browser has under way.
        StaleSignIn = "stale-sign-in",
        /// Too many attempts have failed.
        TooManyAttempts = "too-many-attempts",
        /// Too many bodies of this client are being read to decide.
        TooManyBodies = "too-many-bodies",
        /// Too many requests of the client are open.
        TooManyRequests = "too-many-requests",
        /// It cannot be looked up now who may do what.
        Unavailable = "unavailable",
        /// Another proxy's question leaves open what is asked for.
        UnclearQuestion = "unclear-question",
        /// The head cannot be read.
        UnreadableRequest = "unreadable-request",
        /// A form in a media type that forms do not have.
        UnsupportedMediaType = "unsupported-media-type",
        /// The authentication scheme is not accepted.
        UnsupportedScheme = "unsupported-scheme",
        /// A subrequest from a peer that is not a trusted proxy.
        UntrustedProxy = "untrusted-proxy",
        /// What the application answered is not HTTP as it should be.
        UpstreamProtocol = "upstream-protocol",
        /// The application took too long.
        UpstreamTimeout = "upstream-timeout",
        /// The application cannot be reached.
        UpstreamUnreachable = "upstream-unreachable",
        /// The target is too long.
        UriTooLong = "uri-too-long",
        /// A version of `WebSocket` that is not spoken.
        WebsocketVersion = "websocket-version",
        /// Name or password is wrong.
        WrongCredentials = "wrong-credentials",
    }
}

impl Verdict {
    /// Whether the request goes on to its application. Only what is named here does.
    pub fn passes(self) -> bool {
        match self {
            Self::Allow | Self::Shadow => true,
            Self::Challenge | Self::Deny | Self::Error | Self::None | Self::Own => false,
        }
    }
}
