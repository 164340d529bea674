package contract

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden wire forms")

func TestGoldenWireForms(t *testing.T) {
	for _, m := range Messages() {
		t.Run(m.Subject, func(t *testing.T) {
			golden(t, m.Subject+".json", m.Sample)
			if m.Reply != nil {
				golden(t, m.Subject+".reply.json", m.Reply)
			}
		})
	}
}

func golden(t *testing.T, name string, value any) {
	t.Helper()
	got, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the wire form changed.\ngot  %s\nwant %s", name, got, want)
	}
	back := reflect.New(reflect.TypeOf(value))
	dec := json.NewDecoder(bytes.NewReader(want))
	dec.DisallowUnknownFields()
	if err := dec.Decode(back.Interface()); err != nil {
		t.Fatalf("%s does not read back: %v", name, err)
	}
	if !reflect.DeepEqual(back.Elem().Interface(), value) {
		t.Errorf("%s reads back as %+v, want %+v", name, back.Elem().Interface(), value)
	}
}

// Every call and event that is declared is in Messages, once.
func TestMessagesIsComplete(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range Messages() {
		if listed[m.Subject] {
			t.Errorf("%s is listed twice", m.Subject)
		}
		listed[m.Subject] = true
		if m.Doc == "" || len(m.To) == 0 || len(m.From) == 0 {
			t.Errorf("%s lacks a sentence, a sender or a receiver", m.Subject)
		}
	}
	for _, file := range []string{"calls.go", "events.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			s := strings.Trim(lit.Value, `"`)
			if strings.HasPrefix(s, "sallyport.") && !strings.Contains(s, ">") && !strings.HasPrefix(s, "sallyport.dead.") && !listed[s] {
				t.Errorf("%s is declared in %s but missing from Messages", s, file)
			}
			return true
		})
	}
}

func TestErrorCodesSurvive(t *testing.T) {
	left, until := 3, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, code := range Codes() {
		in := &Error{Code: code, Detail: "a sentence", AttemptsLeft: &left, LockedUntil: &until, RetryAfter: 7, Field: "phone", Reason: PhoneKind}
		raw, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out Error
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*in, out) {
			t.Errorf("%s came back as %+v", code, out)
		}
	}
	if got := CodeOf(os.ErrClosed); got != InternalError {
		t.Errorf("an unknown error has code %q, want internal", got)
	}
}

func TestSecondsRoundUp(t *testing.T) {
	for in, want := range map[time.Duration]int{0: 1, time.Millisecond: 1, time.Second: 1, 1001 * time.Millisecond: 2, -time.Second: 1} {
		if got := Seconds(in); got != want {
			t.Errorf("Seconds(%v) = %d, want %d", in, got, want)
		}
	}
}
