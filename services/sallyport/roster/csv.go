package roster

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// columns are those of CSV, each with what it sets in a line.
var columns = map[string]func(l *line, value string) bool{
	"id":                 text(func(l *line) *string { return &l.ID }),
	"email":              text(func(l *line) *string { return &l.Email }),
	"name":               text(func(l *line) *string { return &l.Name }),
	"audience":           text(func(l *line) *string { return &l.Audience }),
	"organization":       text(func(l *line) *string { return &l.Organization }),
	"organization_admin": truth(func(l *line) **bool { return &l.OrganizationAdmin }),
	"master_admin":       truth(func(l *line) **bool { return &l.MasterAdmin }),
	"disabled":           truth(func(l *line) **bool { return &l.Disabled }),
	"federated":          truth(func(l *line) **bool { return &l.Federated }),
	"provider":           text(func(l *line) *string { return &l.Provider }),
	"subject":            text(func(l *line) *string { return &l.Subject }),
	"identity":           text(func(l *line) *string { return &l.Identity }),
}

// secrets are fields that CSV does not have.
var secrets = map[string]bool{
	"password": true, "totp": true, "totp_label": true, "phone": true, "phone_region": true, "enrolled_since": true,
}

func text(of func(*line) *string) func(*line, string) bool {
	return func(l *line, value string) bool { *of(l) = value; return true }
}

// truth reads yes and no; an empty cell says nothing.
func truth(of func(*line) **bool) func(*line, string) bool {
	return func(l *line, value string) bool {
		yes := false
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "":
			return true
		case "true", "yes", "1":
			yes = true
		case "false", "no", "0":
		default:
			return false
		}
		*of(l) = &yes
		return true
	}
}

// ParseHeader reads the first record of CSV, or says all that is wrong with it. Where it names no column that must be
// there it is a person or another file altogether, and no word of it is said.
func ParseHeader(record []string) ([]string, []Problem) {
	must := []string{"email", "name", "audience"}
	if !slices.ContainsFunc(record, func(cell string) bool { return slices.Contains(must, columnOf(cell)) }) {
		return nil, []Problem{{"", Malformed, "The first line must be the header, with email, name and audience."}}
	}
	var wrong []Problem
	seen := make(map[string]bool, len(record))
	out := make([]string, 0, len(record))
	for _, cell := range record {
		name := columnOf(cell)
		shown := shown(name)
		switch {
		case seen[name]:
			wrong = append(wrong, Problem{shown, Duplicate, "A column stands there twice."})
		case secrets[name]:
			wrong = append(wrong, Problem{shown, Secret, "CSV carries people alone; passwords and factors come as JSON Lines."})
		case columns[name] == nil:
			wrong = append(wrong, Problem{shown, Unknown, "There is no column of this name."})
		}
		seen[name] = true
		out = append(out, name)
	}
	for _, name := range must {
		if !seen[name] {
			wrong = append(wrong, Problem{name, Invalid, "This column is missing."})
		}
	}
	return out, wrong
}

func columnOf(cell string) string { return strings.ToLower(strings.TrimSpace(cell)) }

// ParseRecord reads one record of CSV under a header.
func ParseRecord(header, record []string) (Person, []Problem) {
	if len(record) != len(header) {
		return Person{}, []Problem{{"", Malformed, "The line has another number of cells than the header."}}
	}
	var l line
	var wrong []Problem
	for i, value := range record {
		if !utf8.ValidString(value) {
			return Person{}, []Problem{{header[i], NotUTF8, "The line is not valid UTF-8."}}
		}
		if !columns[header[i]](&l, value) {
			wrong = append(wrong, Problem{header[i], WrongType, "The value must be true or false."})
		}
	}
	p, more := l.person()
	if wrong = append(wrong, more...); wrong != nil {
		return Person{}, wrong
	}
	return p, nil
}

// shown is a name as it may be printed.
func shown(name string) string {
	const longest = 40
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r > '~' {
			return '?'
		}
		return r
	}, name)
	return name[:min(len(name), longest)]
}
