package gateway

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"sallyport/pkg/contract"
)

// This file holds how people are found among a hundred thousand: which ranges of which indexes hold all who may match,
// and who does match. It asks nobody; people.go reads the ranges.

// Every list has the order of one key: the address, or for those found by their name only, the name. A list without a
// text is in the order of addresses from end to end.

// The three parts of an audience: those whom policy is about are named like the audience itself.
const (
	disabledPart  = "/disabled"
	federatedPart = "/federated"
)

// index fills in what the account is found by.
func (u *user) index() {
	u.Population = string(u.Audience)
	switch {
	case u.Federated:
		u.Population += federatedPart
	case u.Disabled:
		u.Population += disabledPart
	}
	u.NameKey, u.SurnameKey = nameKeys(u.Name, u.User)
	if u.Deleted {
		u.Population, u.NameKey, u.SurnameKey, u.Organization, u.MasterAdmin = "deleted", "", "", "", false
	}
}

// fold is a name as it is searched for: without case, accents and spaces to spare. What would sort differently in one
// store and another is left out.
func fold(name string) string {
	plain, _, err := transform.String(transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), norm.NFKC), name)
	if err != nil {
		plain = name
	}
	plain = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		case r == '\'', r == '’', r == '.':
			return -1
		}
		return ' '
	}, plain)
	return strings.Join(strings.Fields(plain), "-")
}

// nameKeys are a name from its beginning and from its last word, each made unique by the id: a place in a list.
func nameKeys(name, id string) (full, last string) {
	full = fold(name)
	last = full
	if i := strings.LastIndexByte(full, '-'); i >= 0 {
		last = full[i+1:] + "-" + full[:i]
	}
	return full + "~" + id, last + "~" + id
}

// needle is a text as it is searched for.
type needle struct{ email, name string }

func newNeedle(typed string) needle {
	email := strings.ToLower(norm.NFKC.String(strings.TrimSpace(typed)))
	return needle{email, fold(typed)}
}

// finds tells whether the text finds the account in one of the three orders.
func (n needle) finds(u user, phase int) bool {
	switch phase {
	case phaseEmail:
		return strings.HasPrefix(u.Email, n.email)
	case phaseName:
		return n.name != "" && strings.HasPrefix(u.NameKey, n.name)
	default:
		return n.name != "" && strings.HasPrefix(u.SurnameKey, n.name)
	}
}

// The phases of a list with a text: those found by their address come first, then those by their name, then those by
// their last name. A list without one has the first phase only.
const (
	phaseEmail = iota
	phaseName
	phaseSurname
	phases
)

// keyField is the field whose order a phase follows, keyOf its value.
func keyField(phase int) string { return [phases]string{"email", "name_key", "surname_key"}[phase] }

func keyOf(u user, phase int) string { return [phases]string{u.Email, u.NameKey, u.SurnameKey}[phase] }

// sight is what the viewer of a list may see and what counts at the time.
type sight struct {
	portal string
	rules  contract.PortalRules
	now    time.Time
}

// standing is where a person stands by what the directory knows.
func (s sight) standing(u user) contract.Standing {
	rule := s.rules.Of(u.Audience)
	switch m := u.Mirror; {
	case u.Federated:
		return contract.Exempt
	case m.EnrolledIn > 0 && m.EnrolledIn == rule.Generation:
		return contract.Enrolled
	case rule.SkipsCount && m.SkippedIn > 0 && m.SkippedIn == rule.Generation && m.SkippedOptOut == rule.OptOutGeneration:
		return contract.Skipped
	}
	return contract.NotEnrolled
}

// locked tells whether the person's factor is closed now.
func (s sight) locked(u user) bool {
	m := u.Mirror
	return m.Locked && s.standing(u) == contract.Enrolled && (m.LockedUntil == nil || m.LockedUntil.After(s.now))
}

// matches tells whether an account belongs on a list.
func (s sight) matches(u user, l listing) bool {
	switch {
	case u.Deleted, u.Portal != s.portal,
		l.Audience != "" && u.Audience != l.Audience,
		l.Organization != "" && u.Organization != l.Organization:
		return false
	}
	if l.Query != "" {
		n := newNeedle(l.Query)
		if !n.finds(u, phaseEmail) && !n.finds(u, phaseName) && !n.finds(u, phaseSurname) {
			return false
		}
	}
	switch l.Standing {
	case "":
		return true
	case standingLocked:
		return s.locked(u)
	case standingNever:
		return !u.SignedIn
	}
	return s.standing(u) == contract.Standing(l.Standing)
}

// first is the phase in which a list shows an account: it must not come again in a later one.
func (l listing) first(u user) int {
	n := newNeedle(l.Query)
	for p := range phases {
		if n.finds(u, p) {
			return p
		}
	}
	return phases
}

// manyGenerations is from when on old generations are not asked one by one any more.
const manyGenerations = 4

// equality asks for one value of a field; a span is all accounts for which several hold.
type (
	equality struct {
		field string
		value any
	}
	span []equality
)

// ranges are spans, each with an index in the order of the phase's key; together they hold everybody on the list,
// and nobody twice.
func (s sight) ranges(l listing) []span {
	of := func(more ...equality) span { return append(span{{"portal", s.portal}}, more...) }
	part := func(p string, more ...equality) span { return of(append([]equality{{"population", p}}, more...)...) }
	switch {
	case l.Organization != "":
		return []span{of(equality{"organization", l.Organization})} // a company has few contacts; the rest is looked at
	case l.Query != "":
		return []span{of()}
	case l.Standing == standingLocked:
		return []span{of(equality{"mirror.locked", true})}
	case l.Standing == standingNever:
		return []span{of(equality{"signed_in", false})}
	case l.Standing == "" && l.Audience == "":
		return []span{of()}
	}
	var out []span
	for _, a := range audiences(l.Audience) {
		rule, local := s.rules.Of(a), []string{string(a), string(a) + disabledPart}
		switch contract.Standing(l.Standing) {
		case contract.Exempt:
			out = append(out, part(string(a)+federatedPart))
		case contract.Enrolled:
			for _, p := range local {
				if rule.Generation > 0 {
					out = append(out, part(p, equality{"mirror.enrolled_in", rule.Generation}))
				}
			}
		case contract.Skipped:
			for _, p := range local {
				if rule.Generation > 0 && rule.SkipsCount {
					out = append(out, part(p, equality{"mirror.skipped_in", rule.Generation}, equality{"mirror.skipped_opt_out", rule.OptOutGeneration}))
				}
			}
		case contract.NotEnrolled:
			for _, p := range local {
				if rule.Generation == 0 || rule.Generation > manyGenerations {
					out = append(out, part(p))
					continue
				}
				for g := range rule.Generation {
					out = append(out, part(p, equality{"mirror.enrolled_in", g}))
				}
			}
		default:
			for _, p := range append(local, string(a)+federatedPart) {
				out = append(out, part(p))
			}
		}
	}
	return out
}

// audiences are the one given, or both.
func audiences(a contract.Audience) []contract.Audience {
	if a != "" {
		return []contract.Audience{a}
	}
	return []contract.Audience{contract.Internal, contract.Organization}
}

// phasesOf are the phases of a list. A company's contacts are all looked at, in one go.
func (l listing) phasesOf() int {
	if l.Query == "" || l.Organization != "" || fold(l.Query) == "" {
		return 1
	}
	return phases
}

// bounds are the keys of a phase that are still to come.
type bounds struct {
	field string
	// from is the first that may be, after one that comes before all others, below one that comes after them; empty
	// where there is no such bound.
	from, after, below string
}

// bounds are the keys of a phase behind the last one that was seen.
func (l listing) bounds(at cursor) bounds {
	b := bounds{field: keyField(at.Phase), after: at.Key}
	if l.Query == "" || l.Organization != "" {
		return b
	}
	n := newNeedle(l.Query)
	from := n.email
	if at.Phase != phaseEmail {
		from = n.name
	}
	b.below = from + string(utf8.MaxRune)
	if at.Key < from {
		b.from, b.after = from, ""
	}
	return b
}

// cursor is where a page ended. It is opaque to everybody else, and holds no secret.
type cursor struct {
	Phase int    `json:"p,omitempty"`
	Key   string `json:"k"`
}

var errCursor = &contract.Error{Code: contract.InvalidRequest, Detail: "This is not a cursor of this list.", Field: "cursor"}

func (c cursor) String() string {
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err) // a number and a string always encode
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// parseCursor reads the cursor of a list with so many phases; "" is its beginning.
func parseCursor(s string, phases int) (cursor, error) {
	if s == "" {
		return cursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) > 1200 {
		return cursor{}, errCursor
	}
	var c cursor
	if json.Unmarshal(raw, &c) != nil || c.Phase < 0 || c.Phase >= phases || c.String() != s {
		return cursor{}, errCursor
	}
	return c, nil
}

// byKey orders accounts as a phase does.
func byKey(phase int) func(a, b user) int {
	return func(a, b user) int { return cmp.Compare(keyOf(a, phase), keyOf(b, phase)) }
}
