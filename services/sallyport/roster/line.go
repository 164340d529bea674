// Package roster answers: what does a file of people say, and what is wrong with it?
//
// A file is JSON Lines, one person per line, or CSV with a header, which carries people without their secrets. Reading a
// line is a function of its bytes: it asks nobody, and says all that is wrong with it, each with a field, a reason that
// never changes and a sentence; never with the value, which may be a secret.
package roster

import (
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/sms-dispatcher/sms"
	"sallyport/services/totp-svc/totp"
)

// LongestLine is how long a line may be, in bytes.
const LongestLine = 64 << 10

// Person is a person of a file, as they would be kept.
type Person struct {
	gateway.PersonRecord
	// Key is an authenticator's, in base32; Phone is in E.164. One that is empty is not there.
	Key      secret.String
	KeyLabel string
	Phone    secret.String
	// Since is when the factor was enrolled; zero where nothing is said.
	Since time.Time
}

// Problem is one thing that is wrong with a line.
type Problem struct {
	Field  string
	Reason contract.Reason
	Says   string
}

// Reasons that are about the text of a line. Those about what it says are the services'.
const (
	Malformed    contract.Reason = "malformed"       // no JSON object, or no CSV
	TooLong      contract.Reason = "too_long"        // longer than LongestLine
	NotUTF8      contract.Reason = "not_utf8"        // no valid UTF-8
	Duplicate    contract.Reason = "duplicate_field" // a name twice
	Unknown      contract.Reason = "unknown_field"   // a name that means nothing here
	WrongType    contract.Reason = "wrong_type"      // a number where a text is meant
	Secret       contract.Reason = "secret_in_csv"   // what CSV does not carry
	Invalid      contract.Reason = "invalid"
	NotForThem   contract.Reason = "wrong_audience"
	NoFactor     contract.Reason = "no_factor"        // a time of an enrolment that is not there
	NeedsConsent contract.Reason = "needs_permission" // an admin, without the flag that allows it
	Twice        contract.Reason = "twice"            // the same person further up
)

// ProblemOf is a refusal of a service.
func ProblemOf(e *contract.Error) Problem { return Problem{e.Field, e.Reason, e.Detail} }

// line is a person as a line of JSON has them.
type line struct {
	ID                string    `json:"id,omitzero"`
	Email             string    `json:"email"`
	Name              string    `json:"name"`
	Audience          string    `json:"audience"`
	Organization      string    `json:"organization,omitzero"`
	OrganizationAdmin *bool     `json:"organization_admin,omitzero"`
	MasterAdmin       *bool     `json:"master_admin,omitzero"`
	Disabled          *bool     `json:"disabled,omitzero"`
	Federated         *bool     `json:"federated,omitzero"`
	Provider          string    `json:"provider,omitzero"`
	Subject           string    `json:"subject,omitzero"`
	Identity          string    `json:"identity,omitzero"`
	Password          string    `json:"password,omitzero"`
	TOTP              string    `json:"totp,omitzero"`
	TOTPLabel         string    `json:"totp_label,omitzero"`
	Phone             string    `json:"phone,omitzero"`
	PhoneRegion       string    `json:"phone_region,omitzero"`
	EnrolledSince     time.Time `json:"enrolled_since,omitzero"`
}

// ParseLine reads one line of JSON.
func ParseLine(raw []byte) (Person, []Problem) {
	if len(raw) > LongestLine {
		return Person{}, []Problem{tooLong}
	}
	var l line
	if err := json.Unmarshal(raw, &l, json.RejectUnknownMembers(true)); err != nil {
		return Person{}, []Problem{jsonProblem(err)}
	}
	return l.person()
}

var tooLong = Problem{"", TooLong, "The line is longer than 64 KiB."}

// jsonProblem says what is wrong with a text, without a word of it but the names of fields.
func jsonProblem(err error) Problem {
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		field := ""
		if errors.As(err, &syntactic) {
			field = fieldOf(syntactic.JSONPointer)
		}
		return Problem{field, Duplicate, "A field stands there twice."}
	case errors.As(err, &syntactic):
		if strings.Contains(syntactic.Err.Error(), "UTF-8") {
			return Problem{"", NotUTF8, "The line is not valid UTF-8."}
		}
		return Problem{"", Malformed, "The line is not a JSON object."}
	case errors.As(err, &semantic):
		field := fieldOf(semantic.JSONPointer)
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return Problem{field, Unknown, "There is no field of this name."}
		case field == "":
			return Problem{"", Malformed, "The line is not a JSON object."}
		case field == "enrolled_since":
			return Problem{field, Invalid, "The time must be one of RFC 3339, such as 2024-05-17T08:30:00Z."}
		}
		return Problem{field, WrongType, "The value is not of the kind that this field has."}
	}
	return Problem{"", Malformed, "The line is not a JSON object."}
}

// fieldOf is the name that a pointer ends in, as it may be printed.
func fieldOf(p jsontext.Pointer) string { return shown(p.LastToken()) }

// person checks what a line says.
func (l line) person() (Person, []Problem) {
	var wrong []Problem
	p := Person{PersonRecord: gateway.PersonRecord{
		ID: l.ID, Email: l.Email, Name: l.Name, Audience: contract.Audience(l.Audience), Organization: l.Organization,
		MasterAdmin: l.MasterAdmin, OrganizationAdmin: l.OrganizationAdmin, Federated: l.Federated, Disabled: l.Disabled,
		Provider: l.Provider, Subject: l.Subject, Identity: l.Identity, Password: secret.New(l.Password),
	}}
	var refusals []*contract.Error
	p.PersonRecord, refusals = p.Checked()
	refuse := func(e *contract.Error) {
		if e != nil {
			refusals = append(refusals, e)
		}
	}
	federated := l.Federated != nil && *l.Federated
	if l.TOTP != "" {
		var e *contract.Error
		p.Key, e = totp.ParseKey(l.TOTP)
		refuse(e)
		if p.Audience == contract.Organization || federated {
			wrong = append(wrong, Problem{"totp", NotForThem, "An authenticator counts for internal users with a password alone; contacts use text messages."})
		}
	}
	if l.Phone != "" {
		var e *contract.Error
		p.Phone, e = sms.ParseNumber(l.Phone, l.PhoneRegion, nil)
		refuse(e)
		if p.Audience == contract.Internal || federated {
			wrong = append(wrong, Problem{"phone", NotForThem, "A number counts for contacts of organizations with a password alone; internal users have an authenticator."})
		}
	}
	if l.TOTPLabel != "" {
		var e *contract.Error
		p.KeyLabel, e = totp.ParseLabel(l.TOTPLabel)
		refuse(e)
	}
	switch {
	case l.TOTPLabel != "" && l.TOTP == "":
		wrong = append(wrong, Problem{"totp_label", NoFactor, "A label needs an authenticator."})
	case l.PhoneRegion != "" && l.Phone == "":
		wrong = append(wrong, Problem{"phone_region", NoFactor, "A region needs a number."})
	case !l.EnrolledSince.IsZero() && l.TOTP == "" && l.Phone == "":
		wrong = append(wrong, Problem{"enrolled_since", NoFactor, "A time of enrolment needs an authenticator or a number."})
	}
	if p.Since = l.EnrolledSince.UTC().Truncate(time.Millisecond); !l.EnrolledSince.IsZero() && (p.Since.Year() < 2000 || p.Since.Year() > 2999) {
		wrong = append(wrong, Problem{"enrolled_since", Invalid, "The time of enrolment is not one of this millennium."})
	}
	for _, e := range refusals {
		wrong = append(wrong, ProblemOf(e))
	}
	if wrong != nil {
		return Person{}, wrong
	}
	return p, nil
}

// Line is a person as a line of JSON, with an end of line. Secrets are part of it: who writes it anywhere seals it.
func (p Person) Line() []byte {
	l := line{
		ID: p.ID, Email: p.Email, Name: p.Name, Audience: string(p.Audience), Organization: p.Organization,
		MasterAdmin: p.MasterAdmin, OrganizationAdmin: p.OrganizationAdmin, Federated: p.Federated, Disabled: p.Disabled,
		Provider: p.Provider, Subject: p.Subject, Identity: p.Identity, Password: p.Password.Reveal(),
		TOTP: p.Key.Reveal(), TOTPLabel: p.KeyLabel, Phone: p.Phone.Reveal(), EnrolledSince: p.Since,
	}
	raw, err := json.Marshal(l)
	if err != nil {
		panic(err) // texts, truths and a time of this millennium always encode
	}
	return append(raw, '\n')
}

// WithoutSecrets is the person without password, authenticator and number.
func (p Person) WithoutSecrets() Person { return Person{PersonRecord: withoutPassword(p.PersonRecord)} }

func withoutPassword(r gateway.PersonRecord) gateway.PersonRecord {
	r.Password = secret.String{}
	return r
}
