package contract

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzMessages reads anything as each request, reply and event: what is taken has one form on the wire, which is read as
// the same message again, so that what one service wrote means the same to every other.
func FuzzMessages(f *testing.F) {
	var forms []reflect.Type
	for _, m := range Messages() {
		for _, sample := range []any{m.Sample, m.Reply} {
			if sample != nil {
				forms = append(forms, reflect.TypeOf(sample))
			}
		}
	}
	golden, err := filepath.Glob("testdata/*.json")
	if err != nil || len(golden) == 0 {
		f.Fatal("no golden messages", err)
	}
	for n, path := range golden {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(n), raw)
	}
	for n := range forms {
		f.Add(uint8(n), []byte(`{"at":"0001-01-01T00:00:00Z","portal":null,"user":"\ud800","epoch":{"person":-1},"x":[]}`))
	}
	f.Fuzz(func(t *testing.T, n uint8, data []byte) {
		form := forms[int(n)%len(forms)]
		one := reflect.New(form).Interface()
		if json.Unmarshal(data, one) != nil {
			return
		}
		wire, err := json.Marshal(one)
		if err != nil {
			t.Fatalf("%s is read from %q, and cannot be written: %v", form, data, err)
		}
		if !utf8.Valid(wire) {
			t.Errorf("%s is written as what is no text: %q", form, wire)
		}
		two := reflect.New(form).Interface()
		if err := json.Unmarshal(wire, two); err != nil {
			t.Fatalf("%s is written as %s, and not read again: %v", form, wire, err)
		}
		if again, err := json.Marshal(two); err != nil || !bytes.Equal(again, wire) {
			t.Errorf("%s is written as %s, and then as %s, %v", form, wire, again, err)
		}
	})
}
