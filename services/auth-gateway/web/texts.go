package web

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"reflect"
	"strconv"
	"strings"
)

// Text is a sentence a page can say: one of the constants below, or, for words that come from elsewhere (a carrier's
// reason), those words themselves, which are then shown as they are. The zero value says nothing.
type Text string

// What the sign-in form says.
const (
	EmailInvalid    Text = "error.email_invalid"
	PasswordMissing Text = "error.password_missing"
	WrongPassword   Text = "error.wrong_password"
	PasswordWrong   Text = "error.password_wrong" // in a step-up, where the person is known
	PasswordLimit   Text = "error.password_limit"
	NetworkLimit    Text = "error.password_limit_network"
	FormExpired     Text = "error.form_expired"
)

// What the sign-in form says first, when the person did not come for the first time.
const (
	SignedOut         Text = "notice.signed_out"
	NumberConfirmed   Text = "notice.number_confirmed"
	SignInExpired     Text = "notice.sign_in_expired"
	SessionExpired    Text = "notice.session_expired"
	SignInFirst       Text = "notice.sign_in_first"
	SignedOutToEnroll Text = "notice.signed_out_to_enroll"
	SignInCancelled   Text = "notice.sign_in_cancelled"
)

// Why the way to a sign-in provider did not lead in.
const (
	ProviderCancelled  Text = "provider.cancelled"
	ProviderRefused    Text = "provider.refused"
	ProviderUnknown    Text = "provider.unknown"    // late, used already, or begun in another browser
	ProviderUntrusted  Text = "provider.untrusted"  // its answer does not prove what it should
	ProviderUnverified Text = "provider.unverified" // no address, or one it has not verified
	ProviderDomain     Text = "provider.domain"
	ProviderLocal      Text = "provider.local"
	ProviderOther      Text = "provider.other"
	ProviderDisabled   Text = "provider.disabled"
	ProviderStale      Text = "provider.stale" // a step-up without a new sign-in
	ProviderDown       Text = "provider.down"
	ProviderStepUp     Text = "provider.step_up" // the heading over one of these, when it was a step-up
)

// What is said of a code. How many tries are left, and until when none is taken, the page adds itself.
const (
	CodeWrong       Text = "error.code_wrong"
	CodeMissing     Text = "error.code_missing"
	CodeIncomplete  Text = "error.code_incomplete" // not six digits
	CodeUsed        Text = "error.code_used"
	CodeExpired     Text = "error.code_expired" // a newer one is needed
	CodeLocked      Text = "error.code_locked"
	CodeDisabled    Text = "error.code_disabled" // 50 in a row: only recovery or a reset helps
	RecoveryWrong   Text = "error.recovery_wrong"
	RecoveryMissing Text = "error.recovery_missing"
	RecoveryNone    Text = "error.recovery_none"
	TooSoon         Text = "error.too_soon" // a resend before its time
	TooManyTexts    Text = "error.too_many_texts"
	Unavailable     Text = "error.unavailable"
)

// Why a number cannot be used.
const (
	PhoneMissing  Text = "error.phone_missing"
	PhoneInvalid  Text = "error.phone_invalid"
	PhoneCountry  Text = "error.phone_country"
	PhoneKind     Text = "error.phone_kind" // premium, shared-cost, satellite, land line
	PhoneOptedOut Text = "error.phone_opted_out"
	PhoneLimit    Text = "error.phone_limit" // too many people or texts already
)

// Why a text message was not sent.
const (
	DeliveryRefused    Text = "delivery.refused"    // the carrier does not take the number
	DeliveryOptedOut   Text = "delivery.opted_out"  // the owner of the number asked for no messages
	DeliveryCarrier    Text = "delivery.carrier"    // the carrier is out of order
	DeliveryExpired    Text = "delivery.expired"    // it did not leave in time
	DeliveryStopped    Text = "delivery.stopped"    // its country was stopped while it waited
	DeliveryUnsendable Text = "delivery.unsendable" // a fault on our side
)

// What to do when a text message was not sent.
const (
	DoCheckNumber Text = "delivery.do_check_number"
	DoOtherWay    Text = "delivery.do_other_way"
	DoOptIn       Text = "delivery.do_opt_in"
	DoAskAgain    Text = "delivery.do_ask_again"
	DoTryAgain    Text = "delivery.do_try_again"
	DoChooseWay   Text = "delivery.do_choose_way"
)

// Which limit on text messages was reached.
const (
	LimitPerson     Text = "limit.person"
	LimitNumber     Text = "limit.number"
	LimitPrefix     Text = "limit.prefix"
	LimitNetwork    Text = "limit.network"
	LimitCountry    Text = "limit.country"
	LimitPortal     Text = "limit.portal"
	LimitConversion Text = "limit.conversion"
	LimitBudget     Text = "limit.budget"
	LimitOther      Text = "limit.other"
)

// What the account page says after something was done.
const (
	FactorOn           Text = "notice.factor_on"
	FactorReplaced     Text = "notice.factor_replaced"
	FactorRemoved      Text = "notice.factor_removed"
	FactorRenamed      Text = "notice.factor_renamed"
	OthersSignedOut    Text = "notice.others_signed_out"
	SessionEnded       Text = "notice.session_ended"
	EnrolmentOver      Text = "notice.enrolment_over"
	FactorNotRemovable Text = "notice.factor_not_removable"
)

// What a step-up is for.
const (
	WhyRecoveryCodes Text = "why.recovery_codes"
	WhyFactor        Text = "why.factor"
	WhySettings      Text = "why.settings"
	WhyReset         Text = "why.reset"
)

// IsWhy tells whether a text is one of those: what a form says of itself is not shown unseen.
func IsWhy(t Text) bool {
	switch t {
	case WhyRecoveryCodes, WhyFactor, WhySettings, WhyReset:
		return true
	}
	return false
}

// What an error page says and where it leads; ErrorFor chooses by status.
const (
	BadRequestTitle  Text = "error.400.title"
	BadRequest       Text = "error.400.text"
	ForbiddenTitle   Text = "error.403.title"
	Forbidden        Text = "error.403.text"
	NotFoundTitle    Text = "error.404.title"
	NotFound         Text = "error.404.text"
	BadMethodTitle   Text = "error.405.title"
	BadMethod        Text = "error.405.text"
	GoneTitle        Text = "error.410.title"
	TicketOver       Text = "door.over"
	Gone             Text = "error.410.text"
	TooManyTitle     Text = "error.429.title"
	TooMany          Text = "error.429.text"
	InternalTitle    Text = "error.500.title"
	Internal         Text = "error.500.text"
	UnavailableTitle Text = "error.503.title"
	UnavailableText  Text = "error.503.text"
	OnwardSignIn     Text = "onward.sign_in"
	OnwardAccount    Text = "onward.account"
	OnwardAgain      Text = "onward.again"
)

// Words that templates choose by a value of their page.
const (
	methodPassword      Text = "method.pwd"
	methodAuthenticator Text = "method.otp"
	methodSMS           Text = "method.sms"
	methodRecovery      Text = "method.recovery"
	methodProvider      Text = "method.fed"
	methodPortal        Text = "method.portal"

	resetByAdmin    Text = "reset.admin"
	resetByOperator Text = "reset.operator"

	clockAhead  Text = "clock.ahead"
	clockBehind Text = "clock.behind"
	seconds     Text = "span.seconds"
	minutes     Text = "span.minutes"
	hours       Text = "span.hours"
	days        Text = "span.days"
)

//go:embed texts/*.json
var textFiles embed.FS

// catalogue is the texts of one language by key. A text is a string with {0}, {1}, … for its arguments, or an object
// {"one", "other"} chosen by the first argument.
type catalogue map[string]phrase

type phrase struct{ One, Other string }

// UnmarshalJSON reads a string, or {"one","other"}.
func (p *phrase) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &p.Other)
	}
	var forms struct{ One, Other string }
	if err := json.Unmarshal(b, &forms); err != nil {
		return err
	}
	if forms.One == "" || forms.Other == "" {
		return fmt.Errorf("text %s: both forms are needed", b)
	}
	*p = phrase(forms)
	return nil
}

// loadTexts reads every texts/<language>.json. What a language lacks, English says.
func loadTexts(fsys fs.FS) (map[string]catalogue, error) {
	names, err := fs.Glob(fsys, "texts/*.json")
	if err != nil {
		return nil, err
	}
	all := map[string]catalogue{}
	for _, name := range names {
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		var c catalogue
		if err := json.Unmarshal(body, &c); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[strings.TrimSuffix(path.Base(name), ".json")] = c
	}
	for lang, c := range all {
		for key, p := range all["en"] {
			if _, ok := c[key]; !ok && lang != "en" {
				c[key] = p
			}
		}
	}
	return all, nil
}

// find is the words of a key, in the form the first argument asks for.
func (c catalogue) find(key string, args []any) (string, bool) {
	p, ok := c[key]
	if !ok {
		return "", false
	}
	if p.One != "" && len(args) > 0 && isOne(args[0]) {
		return p.One, true
	}
	return p.Other, true
}

func isOne(v any) bool {
	n := reflect.ValueOf(v)
	return n.CanInt() && n.Int() == 1
}

// fill puts the arguments in their places.
func fill(words string, args []any) string {
	if len(args) == 0 {
		return words
	}
	pairs := make([]string, 0, 2*len(args))
	for i, a := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", fmt.Sprint(a))
	}
	return strings.NewReplacer(pairs...).Replace(words)
}

// Say is a text in a language, with its arguments. A Text that is no key of the catalogue is its own words.
func Say(lang string, t Text, args ...any) string {
	words, ok := textsOf(lang).find(string(t), args)
	if !ok {
		return string(t)
	}
	return fill(words, args)
}

// must is the template function t: a key that does not exist fails the page, so that a test finds it.
func (c catalogue) must(key any, args ...any) (string, error) {
	k := fmt.Sprint(key)
	words, ok := c.find(k, args)
	if !ok {
		if _, free := key.(Text); free {
			return k, nil
		}
		return "", fmt.Errorf("no text %q", k)
	}
	return fill(words, args), nil
}

// rich is the template function rich: the same, with **bold** and `code`. Arguments are escaped.
func (c catalogue) rich(key any, args ...any) (template.HTML, error) {
	safe := make([]any, len(args))
	for i, a := range args {
		safe[i] = a
		if s, ok := a.(string); ok {
			safe[i] = template.HTMLEscapeString(s)
		}
	}
	words, ok := c.find(fmt.Sprint(key), args)
	if !ok {
		return "", fmt.Errorf("no text %q", key)
	}
	words = markup(template.HTMLEscapeString(words), "**", "b")
	words = markup(words, "`", "code")
	return template.HTML(fill(words, safe)), nil //nolint:gosec // words are ours and escaped, arguments are escaped
}

// markup puts every second piece between marks into an element.
func markup(escaped, mark, element string) string {
	pieces := strings.Split(escaped, mark)
	if len(pieces)%2 == 0 { // an odd mark is just a character
		return escaped
	}
	var b strings.Builder
	for i, piece := range pieces {
		if i%2 == 1 {
			piece = "<" + element + ">" + piece + "</" + element + ">"
		}
		b.WriteString(piece)
	}
	return b.String()
}
