package web

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Page is any of the page structs of this package: SignIn, EnrollWelcome, EnrollTOTP, EnrollPhone, Code, Recover,
// Done, Help, Account, RecoveryCodes, StepUp, EnableSMS, RemoveFactor, SignOut, Door, Back, Error, Docs, and every ConsolePage. Each
// is plain data, handed over by value; Render does the rest.
type Page interface{ page() string } // the name of its template

// Brand is what makes a page the portal's own (B34). Everything but Name may be empty: what is empty is not shown.
type Brand struct {
	Name        string
	Initial     string // one or two letters for the tile that stands in for a logo; taken from Name when empty
	LogoURL     string // a path on this origin (the page's policy loads no other image); empty: the initial tile
	LogoDarkURL string // the logo for dark pages; empty: LogoURL on a white plate
	Accent      string // "#1f5fd0" or "#15c"; anything else means the default blue

	SupportEmail      string
	SupportURL        string
	HelpText          string // the portal's own sentence on whom to ask, shown as plain text
	RequestAccountURL string
	ResetLoginURL     string
}

// Person is who is signed in, for the account menu.
type Person struct {
	Name  string
	Email string

	// CanEnableSMS puts "Enable 2FA SMS" into the menu: for a contact who skipped it (B22).
	CanEnableSMS bool
	// CanAdmin puts "Administration" into the menu.
	CanAdmin bool
	// AdminOf is the one organization that an organization's admin administers; empty: the whole portal.
	AdminOf string
}

// Initials are the first letters of the first and the last name, for the menu on a phone.
func (p Person) Initials() string {
	words := strings.Fields(p.Name)
	if len(words) == 0 {
		words = []string{p.Email}
	}
	letters := firstLetter(words[0])
	if len(words) > 1 {
		letters += firstLetter(words[len(words)-1])
	}
	return letters
}

// Frame is what all pages share.
type Frame struct {
	Brand Brand
	CSRF  string    // token of the hidden field "csrf" in every form
	User  *Person   // nil when nobody is signed in
	Lang  string    // a language of the catalogue; any other means "en"
	Now   time.Time // the server's clock, for "in 30 seconds"
}

// Factor is the kind of second factor.
type Factor string

// The two factors.
const (
	TOTP Factor = "totp"
	SMS  Factor = "sms"
)

// Purpose says what a right code will do.
type Purpose string

// The two purposes of a code.
const (
	Challenge  Purpose = "challenge"  // it signs in
	Enrollment Purpose = "enrollment" // it confirms the number
)

// Delivery is how far a text message has come. The zero value shows nothing.
type Delivery string

// The states of a delivery, as the API spells them.
const (
	Queued Delivery = "queued"
	Sent   Delivery = "sent"
	Failed Delivery = "failed"
)

// Field is a hidden form field, for a form that carries on what was asked for before a step-up.
type Field struct{ Name, Value string }

// SignIn is GET and POST /sign-in: fields email, password, return.
type SignIn struct {
	Return        string    // carried in the hidden field "return"
	Email         string    // prefilled
	EmailError    Text      // EmailInvalid
	PasswordError Text      // PasswordMissing
	Error         Text      // WrongPassword, PasswordLimit or NetworkLimit
	Until         time.Time // when another password is taken, after the last two
	Notice        Text      // SignedOut, NumberConfirmed, SignInExpired, ...
	Refusal       Text      // why a provider did not lead in: ProviderUnknown, ProviderDomain, ...
	Providers     []Provider
}

// Provider is a button that leads to somebody else's sign-in.
type Provider struct {
	Name string // "Microsoft"
	URL  string // a path of ours
}

// EnrollWelcome is GET /sign-in/enroll. Posts factor to /sign-in/enroll/start, and skips at /sign-in/enroll/skip.
type EnrollWelcome struct {
	Factor  Factor
	CanSkip bool
	Again   bool // the person had a factor before: it was reset, replaced by a recovery code, or the portal began anew
	Error   Text

	Recovered  bool       // a recovery code was spent on the way here
	CodesLeft  int        // of them; a warning when it is 3 or fewer
	ResetAt    time.Time  // when somebody else reset it; zero: nobody did
	ResetCause ResetCause // who
}

// ResetCause says who made a person enrol again.
type ResetCause string

// Those who may, as the API spells them.
const (
	ResetByAdmin    ResetCause = "admin"
	ResetByOperator ResetCause = "operator"
)

// Text is what the person is told, with the date as its argument.
func (c ResetCause) Text() Text {
	if c == ResetByOperator {
		return resetByOperator
	}
	return resetByAdmin
}

// EnrollTOTP is /sign-in/enroll/totp. Posts code and label to Action. It holds the secret: do not log or keep it.
type EnrollTOTP struct {
	QR  []byte // PNG, black on white; the page adds the quiet zone
	Key string // base32, in any grouping
	URI string // otpauth://…, for the link "Open on this phone", which only touch screens show; empty: no link

	Label        string
	Error        Text          // CodeWrong, CodeIncomplete, CodeUsed, ...
	AttemptsLeft int           // said when > 0
	LockedUntil  time.Time     // no code is taken before
	ClockOffset  time.Duration // phone's clock minus ours: negative is behind; 0 is unknown
	CanSkip      bool

	Action string // default /sign-in/enroll/confirm
	Cancel string // a link back, for a signed-in user; empty: "Use another account"
	// Replaces says that there is another app, which works until this one does.
	Replaces bool
}

// EnrollPhone is /sign-in/enroll/sms. Posts phone to /sign-in/enroll/phone.
type EnrollPhone struct {
	Phone   string // as it was typed
	Error   Text   // PhoneInvalid, PhoneCountry, PhoneKind, ...
	CanSkip bool

	Limit      Text      // LimitPerson, LimitNumber, ...: why no text is sent now
	LimitUntil time.Time // when one may be
}

// Code is /sign-in/code: a challenge of either factor, and the confirmation of a number.
// Posts code to Action. The page asks GET /sign-in/status while a text is queued; see Status.
type Code struct {
	Factor       Factor
	Purpose      Purpose
	Unsent       bool     // SMS: no text has gone out yet in this sign-in, because the wait is not over
	Destination  string   // masked, xxx-xxx-9443; the whole number only where it was typed a moment ago
	Delivery     Delivery // SMS only
	Paused       bool     // it is queued, and nothing is sent for now
	DeliveryText Text     // the reason of a failure; empty: the usual words for Delivery
	DeliveryDo   Text     // what to do about it: DoTryAgain, DoOtherWay, ...
	Ways         Ways     // SMS only
	Limit        Text     // LimitPerson, LimitNumber, ...: why no other text is sent now
	LimitUntil   time.Time
	ResendIn     int // seconds; 0: at once
	Error        Text
	AttemptsLeft int
	LockedUntil  time.Time
	ClockOffset  time.Duration
	Label        string // the name of the authenticator, where it has one
	Action       string // default /sign-in/code, or /sign-in/enroll/confirm when Purpose is Enrollment
}

// Ways are what a person can do whose text message does not come. Whom to ask is always among them.
type Ways struct {
	In        int  // seconds until they are offered; 0: now. Without JavaScript they are there from the start.
	Recovery  bool // spend a recovery code
	NewNumber bool // give another number
	Skip      bool // decline to enrol
}

// Status is the answer of GET /sign-in/status, which the Code page reads while it waits.
type Status struct {
	Delivery     Delivery `json:"delivery"`
	Paused       bool     `json:"paused"`        // as in Code
	DeliveryText string   `json:"delivery_text"` // in the person's language: Say(lang, text)
	ResendIn     int      `json:"resend_in"`
	Offer        bool     `json:"offer"`   // the other ways are offered now
	Expired      bool     `json:"expired"` // the page goes to GET /sign-in/code, which leads to /sign-in and says why
}

// Recover is /sign-in/recover. Posts recovery_code to it.
type Recover struct {
	Factor       Factor // which will be replaced
	Error        Text   // RecoveryWrong, RecoveryMissing
	AttemptsLeft int
	LockedUntil  time.Time
}

// Done is /sign-in/done: "Congratulations, that's it".
type Done struct {
	Factor       Factor
	Next         string // where the person wanted to go: a path on this origin or a registered URL
	SuggestCodes bool   // has no recovery codes yet
	CodesLeft    int    // a warning when it is 3 or fewer, and not 0
}

// Help is /sign-in/help: what to do without the phone. It never leads past the second factor.
type Help struct {
	Factor Factor
	Back   string // default /sign-in/code
}

// Account is /account.
type Account struct {
	Notice  Text
	Refused bool // the notice says why something was not done

	ResetAt    time.Time // somebody else reset the factors, and there is none since; see EnrollWelcome
	ResetCause ResetCause

	Credentials []Credential
	CanAddTOTP  bool // "Set up authenticator app": POST /account/factors/totp

	CanRecover    bool // may have recovery codes: POST /account/recovery-codes
	RecoveryLeft  int  // a warning when it is 3 or fewer
	RecoveryMade  bool // has been given codes before
	RecoveryOpen  bool // the form is open: it was refused a moment ago
	StepUpNeeded  bool // the form asks for password and code
	StepUp        StepUpFields
	SignedInAt    time.Time
	Until         time.Time
	Methods       []Method     // how, in order
	Sessions      []OwnSession // the newest first
	OtherSessions int          // how many there are besides this one, listed or not; "Sign out everywhere else": POST /account/sessions/sign-out-others
}

// OwnSession is one place where the person is signed in. POST /account/sessions/end: session.
type OwnSession struct {
	ID              string
	Current         bool
	Browser, System string // empty where they are not known
	Network         string
	SignedInAt      time.Time
	SeenAt          time.Time
}

// Method is one way a person proved who they are.
type Method string

// The methods, as amr of RFC 8176 and of our API spells them.
const (
	ByPassword      Method = "pwd"
	ByAuthenticator Method = "otp"
	BySMS           Method = "sms"
	ByRecovery      Method = "recovery"
	ByProvider      Method = "fed"
	ByPortal        Method = "portal"
)

// Text is the method in words; a method unknown here is shown as it is spelled.
func (m Method) Text() Text {
	switch m {
	case ByPassword:
		return methodPassword
	case ByAuthenticator:
		return methodAuthenticator
	case BySMS:
		return methodSMS
	case ByRecovery:
		return methodRecovery
	case ByProvider:
		return methodProvider
	case ByPortal:
		return methodPortal
	}
	return Text(m)
}

// Credential is one enrolled factor on the account page.
type Credential struct {
	Factor      Factor
	Label       string // the name given to the device
	Destination string // masked number
	Since       time.Time
	CanRename   bool // POST /account/factors/{factor}/rename: label
	CanReplace  bool // POST /account/factors/{factor}
	CanRemove   bool // GET /account/factors/{factor}/remove
}

// RemoveFactor is GET and POST /account/factors/{factor}/remove: what removing means, "Keep it" or "Remove" (B18).
type RemoveFactor struct {
	Factor Factor
	Label  string
}

// StepUpFields is the pair of fields, password and code, with which a person proves again who they are.
type StepUpFields struct {
	Provider      *Provider // where a federated person signs in again: then nothing is typed here
	Proved        bool      // they have: no password is asked for
	AtPortal      bool      // has no password here, and signs in at the portal again: nothing is typed here either
	Factor        Factor    // SMS: offers "Text me a code", POST /account/step-up/send; empty: no code is asked for
	Destination   string    // where a text has gone
	Delivery      Delivery
	Paused        bool // as in Code
	ResendIn      int
	PasswordError Text
	PasswordUntil time.Time // when another one is taken
	CodeError     Text
	AttemptsLeft  int
	LockedUntil   time.Time
	ClockOffset   time.Duration
}

// StepUpFields is what the template of the fields reads, here and on StepUp.
func (a Account) StepUpFields() StepUpFields { return a.StepUp }

// StepUp asks for password and code before something that matters, and then posts Carry and the two fields to Action.
// "Text me a code" posts the same to /account/step-up/send, with step_up_action and step_up_why, which shows it again.
type StepUp struct {
	StepUpFields
	Why    Text // what it is for; empty: the usual words
	Action string
	Carry  []Field
	Cancel string // default /account
}

// RecoveryCodes shows a new set once: answer it to the POST itself, never to a GET. It holds secrets: do not log or keep it.
type RecoveryCodes struct {
	Codes    []string
	Replaced bool // earlier codes have just died
	Email    string
}

// EnableSMS is GET and POST /account/factors/sms/enable: what enabling means, "No thanks" or "Enable" (B22).
type EnableSMS struct{}

// SignOut is GET and POST /sign-out.
type SignOut struct{}

// Door is where a portal sends its people to: a form that goes out by itself where there is a script. The ticket works once,
// for a minute, and comes from the page's own address.
type Door struct{ Ticket string } // POST /sign-in/door

// Back is /sign-in/back: the way back to the portal that sent the person, which the browser takes by itself.
type Back struct {
	URL      string // a registered URL
	Complete bool   // otherwise the sign-in is not, and the portal asks again
}

// Error is what a person sees when there is no page for them. ErrorFor fills it by status.
type Error struct {
	Status     int
	Title      Text
	Text       Text
	Code       string // the API's stable code
	RequestID  string
	RetryAfter time.Duration
	OnwardURL  string // one way on
	OnwardText Text
}

func (SignIn) page() string        { return "sign-in" }
func (EnrollWelcome) page() string { return "enroll-welcome" }
func (EnrollTOTP) page() string    { return "enroll-totp" }
func (EnrollPhone) page() string   { return "enroll-phone" }
func (Code) page() string          { return "code" }
func (Recover) page() string       { return "recover" }
func (Done) page() string          { return "done" }
func (Help) page() string          { return "help" }
func (Account) page() string       { return "account" }
func (RecoveryCodes) page() string { return "recovery-codes" }
func (StepUp) page() string        { return "step-up" }
func (EnableSMS) page() string     { return "enable-sms" }
func (RemoveFactor) page() string  { return "remove-factor" }
func (SignOut) page() string       { return "sign-out" }
func (Door) page() string          { return "door" }
func (Back) page() string          { return "back" }
func (Error) page() string         { return "error" }
func (Docs) page() string          { return "docs" }

// Format keeps the secret out of anything printed.
func (EnrollTOTP) Format(f fmt.State, _ rune) { fmt.Fprint(f, "web.EnrollTOTP(secret)") }

// LogValue keeps the secret out of the log.
func (EnrollTOTP) LogValue() slog.Value { return slog.StringValue("web.EnrollTOTP(secret)") }

// Format keeps the codes out of anything printed.
func (RecoveryCodes) Format(f fmt.State, _ rune) { fmt.Fprint(f, "web.RecoveryCodes(secret)") }

// LogValue keeps the codes out of the log.
func (RecoveryCodes) LogValue() slog.Value { return slog.StringValue("web.RecoveryCodes(secret)") }
