// Package contract answers: what do the services say to each other?
//
// It is a leaf: it imports the standard library only. calls.go lists every request/reply subject, events.go every
// JetStream event, errors.go the closed list of error codes. A subject and the types that travel on it are bound in
// one typed value, so that a wrong payload does not compile. Messages carry ids; whatever is secret (a typed code, a
// seed, a telephone number) travels as [Sealed], never in clear.
package contract

// Version is the wire version of every message. A message with another version is refused (calls) or dead-lettered
// (events).
const Version = "1"

// Header names on every message. The two error headers are those of the NATS service API, so that its tools can
// read our answers.
const (
	// HeaderVersion carries [Version].
	HeaderVersion = "Sallyport-Version"
	// HeaderRequestID carries the id by which everything that one request caused is found.
	HeaderRequestID = "Sallyport-Request-Id"
	// HeaderCallID carries the id by which one call is idempotent: a repeated attempt has the same one.
	HeaderCallID = "Sallyport-Call-Id"
	// HeaderEventID carries the id of an event whose message is called otherwise: a dead letter, or one that is replayed.
	HeaderEventID = "Sallyport-Event-Id"
	// HeaderDeadline carries when the caller gives up, in Unix milliseconds: what arrives later is not worked on.
	HeaderDeadline = "Sallyport-Deadline"
	// HeaderTraceParent carries the place in a trace (W3C Trace Context), where requests are traced.
	HeaderTraceParent = "traceparent"
	// HeaderErrorCode carries the [Code] of a refused call.
	HeaderErrorCode = "Nats-Service-Error-Code"
	// HeaderError carries the sentence that belongs to it.
	HeaderError = "Nats-Service-Error"
)

// Service is the name of one of the four services; it is also its queue group, its NATS user and its database.
type Service string

// The four services.
const (
	AuthGateway   Service = "auth-gateway"
	TOTP          Service = "totp-svc"
	SMSDispatcher Service = "sms-dispatcher"
	Policy        Service = "policy-svc"
)

// Sealed is base64 of an AEAD ciphertext under the services' shared bus key. Its associated data is the purpose
// ([PurposeTypedCode], …), the portal and the user, so that it opens for nobody else.
type Sealed string

// Purposes of sealed fields: the first part of their associated data.
const (
	// PurposeTypedCode is a code or recovery code that a person typed.
	PurposeTypedCode = "bus/typed-code"
	// PurposeSeed is a TOTP secret on its way to the one page that shows it.
	PurposeSeed = "bus/seed"
	// PurposePhone is a telephone number as a person typed it.
	PurposePhone = "bus/phone"
	// PurposeRecoveryCodes is a fresh set of recovery codes on its way to the one page that shows it.
	PurposeRecoveryCodes = "bus/recovery-codes"
)

// Account names one person of one portal. Every message about a person starts with it.
type Account struct {
	Portal string `json:"portal"`
	User   string `json:"user"`
}

// Factor is a kind of second factor.
type Factor string

// The two factors. Internal users have an authenticator app, contacts of organizations a text message.
const (
	FactorTOTP Factor = "totp"
	FactorSMS  Factor = "sms"
)

// Audience is one of the two populations of a portal.
type Audience string

// The two populations.
const (
	Internal     Audience = "internal"
	Organization Audience = "organization"
)

// Mode says what a population's second factor is.
type Mode string

// The three modes of a population.
const (
	ModeOff      Mode = "off"
	ModeOptional Mode = "optional"
	ModeRequired Mode = "required"
)

// Standing is where a person stands with the second factor.
type Standing string

// The four standings.
const (
	NotEnrolled Standing = "not_enrolled"
	Enrolled    Standing = "enrolled"
	Skipped     Standing = "skipped"
	Exempt      Standing = "exempt"
)

// Epoch says under which generations an enrolment was made: the population's (raised when the population is
// switched off and on again) and the person's (raised by a reset). An enrolment counts only under the current ones.
type Epoch struct {
	Population int64 `json:"population"`
	Person     int64 `json:"person"`
}

// Call binds a request/reply subject to its types. Answered by one service's queue group over core NATS, within two
// seconds; idempotent by request id.
type Call[Req, Rep any] struct {
	Subject string
	Server  Service
	// Doc is the sentence of the message table in docs/architecture.md.
	Doc string
}

// Event binds a JetStream subject to its type. Durable; delivered at least once; deduplicated by its id.
type Event[T any] struct {
	Subject string
	Stream  Stream
	// From lists the services that may publish it, To those that consume it.
	From, To []Service
	// Doc is the sentence of the message table in docs/architecture.md.
	Doc string
}

// Message is the untyped view of a [Call] or an [Event]: what tables, permissions and documentation are made from.
type Message struct {
	Subject  string
	Kind     string // "call" or "event"
	Stream   Stream // of an event
	From, To []Service
	Doc      string
	// Sample is a filled request or event, Reply a filled reply: their JSON is the golden wire form.
	Sample, Reply any
}
