package roster

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
)

const (
	seed   = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	hashed = "$2b$12$abcdefghijklmnopqrstuuQ5ZB1ZJ8ZcL5h9eC1sQ8bX2Zk3mOa1C"
)

// person is a line of an internal user with one field more, as JSON.
func person(more string) string {
	return `{"email":"ada@north.test","name":"Ada Moreau","audience":"internal"` + more + `}`
}

func contact(more string) string {
	return `{"email":"cleo@acme.test","name":"Cleo Lange","audience":"organization","organization":"Acme"` + more + `}`
}

// TestB40ImportLineSaysWhatIsWrong: every line that cannot be used is refused with a field and a reason, and none of
// what it says is repeated.
func TestB40ImportLineSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		``:                                  "/malformed",
		`null`:                              "email/invalid",
		`[]`:                                "/malformed",
		`"x"`:                               "/malformed",
		person("") + `{}`:                   "/malformed",
		"{\"email\":\"\xff\"}":              "/not_utf8",
		person(`,"name":"Eve"`):             "name/duplicate_field",
		person(`,"Email":"eve@north.test"`): "Email/unknown_field",
		person(`,"a\nb\u001b[31m":1`):       "a?b?[31m/unknown_field",
		person(`,"disabled":"yes"`):         "disabled/wrong_type",
		person(`,"id":7`):                   "id/wrong_type",
		person(`,"id":"a/b"`):               "id/invalid",
		person(`,"id":"` + strings.Repeat("a", 65) + `"`):                                                    "id/invalid",
		person(`,"organization":"Acme"`):                                                                     "organization/wrong_audience",
		person(`,"organization_admin":true`):                                                                 "organization_admin/wrong_audience",
		contact(`,"master_admin":true`):                                                                      "master_admin/wrong_audience",
		`{"email":"a@x.test","name":"A","audience":"client"}`:                                                "audience/invalid",
		`{"email":"a@x.test","name":"A","audience":"organization"}`:                                          "organization/invalid",
		`{"email":"a b@x.test","name":"A","audience":"internal"}`:                                            "email/invalid",
		`{"email":"a@x.test","name":"A\nB","audience":"internal"}`:                                           "name/invalid",
		`{"email":"a@x.test","name":"` + strings.Repeat("x", 201) + `","audience":"internal"}`:               "name/invalid",
		person(`,"password":"hunter2"`):                                                                      "password/hash_form",
		person(`,"password":"$argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHQ$` + strings.Repeat("A", 43) + `"`): "password/hash_cost",
		person(`,"password":"$2b$20$abcdefghijklmnopqrstuuQ5ZB1ZJ8ZcL5h9eC1sQ8bX2Zk3mOa1C"`):                 "password/hash_cost",
		person(`,"federated":true,"password":"` + hashed + `"`):                                              "password/federated_password",
		person(`,"subject":"x","provider":"microsoft"`):                                                      "provider/not_federated",
		person(`,"federated":true,"subject":"x"`):                                                            "provider/invalid",
		person(`,"federated":true,"provider":"microsoft"`):                                                   "subject/invalid",
		person(`,"federated":true,"provider":"microsoft","identity":"abc"`):                                  "identity/invalid",
		person(`,"federated":true,"totp":"` + seed + `"`):                                                    "totp/wrong_audience",
		contact(`,"totp":"` + seed + `"`):                                                                    "totp/wrong_audience",
		person(`,"phone":"+17015550177"`):                                                                    "phone/wrong_audience",
		person(`,"totp":"JBSWY3DPEHPK3PXP"`):                                                                 "totp/too_short",
		person(`,"totp":"` + strings.Repeat("A", 32) + `"`):                                                  "totp/weak",
		person(`,"totp":"not base32!"`):                                                                      "totp/invalid",
		person(`,"totp":"otpauth://hotp/x?secret=` + seed + `"`):                                             "totp/type",
		person(`,"totp":"otpauth://totp/x?secret=` + seed + `&algorithm=SHA256"`):                            "totp/algorithm",
		person(`,"totp":"otpauth://totp/x?secret=` + seed + `&digits=8"`):                                    "totp/digits",
		person(`,"totp":"otpauth://totp/x?secret=` + seed + `&period=60"`):                                   "totp/period",
		person(`,"totp":"otpauth://totp/x?secret=` + seed + `&secret=` + seed + `"`):                         "totp/invalid",
		person(`,"totp_label":"Pixel"`):                                                                      "totp_label/no_factor",
		person(`,"enrolled_since":"2024-05-17T08:30:00Z"`):                                                   "enrolled_since/no_factor",
		person(`,"totp":"` + seed + `","enrolled_since":"yesterday"`):                                        "enrolled_since/invalid",
		person(`,"totp":"` + seed + `","enrolled_since":"1970-01-01T00:00:00Z"`):                             "enrolled_since/invalid",
		contact(`,"phone":"701 555 0177"`):                                                                   "phone/" + string(contract.PhoneNotANumber),
		contact(`,"phone":"701 555 0177","phone_region":"us"`):                                               "phone_region/" + string(contract.PhoneCountry),
		contact(`,"phone":"+1 900 555 1234"`):                                                                "phone/" + string(contract.PhoneKind),
		contact(`,"phone_region":"US"`):                                                                      "phone_region/no_factor",
		strings.Repeat(" ", LongestLine) + person(""):                                                        "/too_long",
	} {
		_, wrong := ParseLine([]byte(text))
		if !slices.ContainsFunc(wrong, func(p Problem) bool { return p.Field+"/"+string(p.Reason) == want }) {
			t.Errorf("%.120s: %+v, want %s", text, wrong, want)
		}
		for _, p := range wrong {
			if p.Says == "" || strings.Contains(p.Says, seed) || strings.Contains(p.Says, "hunter2") || strings.Contains(p.Says, "0177") {
				t.Errorf("%.120s is said to be wrong so: %q", text, p.Says)
			}
		}
	}
}

// TestB40ImportLineIsReadAsItIsKept: in any usual way of writing it.
func TestB40ImportLineIsReadAsItIsKept(t *testing.T) {
	p, wrong := ParseLine([]byte(`{"id":"crm-7","email":" Ada@North.TEST ","name":" Ada Moreau","audience":"internal","password":"` + hashed +
		`","totp":"OTPAUTH://totp/Old:ada?secret=jbsw%20y3dp-ehpk3pxpjbswy3dpehpk3pxp%3D%3D&issuer=Old&digits=6&period=30&algorithm=sha1","totp_label":" Pixel 9 ","enrolled_since":"2024-05-17T10:30:00.1239+02:00"}`))
	if wrong != nil {
		t.Fatal(wrong)
	}
	if p.ID != "crm-7" || p.Email != "ada@north.test" || p.Name != "Ada Moreau" || p.Key.Reveal() != seed || p.KeyLabel != "Pixel 9" ||
		!p.Since.Equal(time.Date(2024, 5, 17, 8, 30, 0, 123e6, time.UTC)) || p.Password.Reveal() != hashed {
		t.Errorf("%s", p.Line())
	}
	p, wrong = ParseLine([]byte(contact(`,"phone":"(701) 555-0177","phone_region":"US","organization_admin":true`)))
	if wrong != nil || p.Phone.Reveal() != "+17015550177" || !*p.OrganizationAdmin {
		t.Errorf("%s, %v", p.Line(), wrong)
	}
	if text := string(p.WithoutSecrets().Line()); strings.Contains(text, "phone") || !strings.Contains(text, "cleo@acme.test") {
		t.Errorf("without secrets: %s", text)
	}
}

// all reads a whole file.
func all(t testing.TB, text string) (out []Line, err error) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		out = append(out, l)
		if err != nil {
			return out, err
		}
	}
}

// TestB40ImportFileIsReadLineByLine: numbers are those of the file, what is too long is read over, and nothing is lost.
func TestB40ImportFileIsReadLineByLine(t *testing.T) {
	long := `{"email":"` + strings.Repeat("x", 3*LongestLine) + `"}`
	text := "\ufeff\r\n" + person("") + "\r\n\n" + long + "\n" + contact("")
	lines, err := all(t, text)
	if err != nil || len(lines) != 3 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for i, want := range []int{2, 4, 5} {
		if lines[i].Number != want || (lines[i].Wrong != nil) != (want == 4) {
			t.Errorf("line %d: %+v", want, lines[i])
		}
	}
	var bad bytes.Buffer
	r, err := NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Overflow = &bad
	for {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	if bad.String() != long+"\n" {
		t.Errorf("of the line that is too long %d bytes are kept, want %d", bad.Len(), len(long)+1)
	}
	for text, want := range map[string]string{
		"email,name\na@x.test,A\n":                               "1 audience/invalid",
		"email,name,audience,Email\n":                            "1 email/duplicate_field",
		"email,name,audience,nick\n":                             "1 nick/unknown_field",
		"a@x.test,A,internal\n":                                  "1 /malformed", // no header: no word of it is said
		"[{}]":                                                   "1 /malformed",
		"email,name,audience,phone\n":                            "1 phone/secret_in_csv",
		"email,name,audience\na@x.test,A\n":                      "2 /malformed",
		"email,name,audience\na@x.test,\"A,internal\n":           "2 /malformed",
		"email,name,audience\na@x.test,\xff,internal\n":          "2 name/not_utf8",
		"email,name,audience\n\"" + strings.Repeat("x\n", 50000): "2 /too_long",
		"email,name,audience,disabled\na@x.test,A,internal,x\n":  "2 disabled/wrong_type",
		"email,name,audience\n\"a\nb\",A,internal\n":             "2 email/invalid",
	} {
		lines, _ := all(t, text)
		last := lines[len(lines)-1]
		if len(last.Wrong) == 0 || last.Wrong[0].Field+"/"+string(last.Wrong[0].Reason) != strings.SplitN(want, " ", 2)[1] || want[0] != byte('0'+last.Number) {
			t.Errorf("%.60q: line %d %+v, want %s", text, last.Number, last.Wrong, want)
		}
	}
	if lines, err := all(t, "\n \n"); err != nil || lines != nil {
		t.Errorf("an empty file: %v, %v", lines, err)
	}
}

// FuzzImportLine: what is read at all is read the same again from what is written of it, and what is refused says why.
func FuzzImportLine(f *testing.F) {
	for _, text := range []string{
		person(""), contact(""), person(`,"totp":"` + seed + `","totp_label":"Pixel 9","enrolled_since":"2024-05-17T08:30:00Z"`),
		person(`,"master_admin":true,"password":"` + hashed + `"`), contact(`,"phone":"+1 701 555 0177","organization_admin":true,"disabled":false`),
		contact(`,"phone":"0171 2345678","phone_region":"DE"`), person(`,"federated":true,"provider":"microsoft","subject":"8f3b"`),
		person(`,"password":"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$` + strings.Repeat("A", 43) + `"`),
		person(`,"totp":"otpauth://totp/x?secret=` + seed + `&algorithm=SHA1"`), `{"email":"İ@x.test","name":"ﬁ","audience":"internal"}`,
		`{}`, `null`, `[1]`, "{\"\xff\":1}", `{"email":{"a":[]}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, wrong := ParseLine(raw)
		if wrong != nil {
			for _, w := range wrong {
				if w.Reason == "" || w.Says == "" || strings.ContainsFunc(w.Field, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("%q is refused so: %+v", raw, w)
				}
			}
			return
		}
		if len(raw) > LongestLine || !json.Valid(raw) {
			t.Fatalf("%q was read", raw)
		}
		again, wrong := ParseLine(bytes.TrimSuffix(p.Line(), []byte("\n")))
		if wrong != nil || !bytes.Equal(again.Line(), p.Line()) {
			t.Errorf("%q is written as %q, which is read as %q, %+v", raw, p.Line(), again.Line(), wrong)
		}
	})
}

// FuzzImportCSV: every record is read, or named with its line; who is read is the same person as a line of JSON.
func FuzzImportCSV(f *testing.F) {
	for _, text := range []string{
		"email,name,audience\na@x.test,A,internal\n", "\ufeffemail,name,audience,organization,organization_admin,disabled\r\nc@x.test,\"Berg, C\",organization,Acme,yes,no\r\n",
		"id,email,name,audience,federated,provider,subject\n7,a@x.test,A,internal,1,microsoft,8f3b\n", "email,name,audience\n\"a", "email\n", ",,\n", "email,name,audience\na@x.test,A\n\n\nb@x.test,B,internal",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		for first := true; ; first = false {
			l, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil && !errors.Is(err, ErrEnd) {
				t.Fatal(err)
			}
			if l.Number <= last || l.Number > bytes.Count(raw, []byte("\n"))+bytes.Count(raw, []byte("\r"))+1 {
				t.Fatalf("%q: line %d after %d", raw, l.Number, last)
			}
			last = l.Number
			if errors.Is(err, ErrEnd) {
				if l.Wrong == nil {
					t.Fatalf("%q ends at line %d without a reason", raw, l.Number)
				}
				return
			}
			var kept bytes.Buffer
			if err := r.Write(&kept, l, first); err != nil {
				t.Fatal(err)
			}
			if l.Wrong != nil {
				continue
			}
			again, wrong := ParseLine(bytes.TrimSuffix(l.Person.Line(), []byte("\n")))
			if wrong != nil || !bytes.Equal(again.Line(), l.Person.Line()) {
				t.Errorf("%q is read as %q and %q, %+v", raw, l.Person.Line(), again.Line(), wrong)
			}
		}
	})
}
