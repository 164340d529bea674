package digits

import (
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for typed, want := range map[string]string{
		"123456":                               "123456",
		"000000":                               "000000",
		"123 456":                              "123456",
		"123-456":                              "123456",
		" 12 34 56 ":                           "123456",
		"12-34-56":                             "123456",
		"1 - 2 3 4 5 6":                        "123456",
		"":                                     "",
		" ":                                    "",
		"12345":                                "",
		"1234567":                              "",
		"123456 7":                             "",
		"-123456":                              "",
		" -123456":                             "",
		"123456-":                              "",
		"+123456":                              "",
		"123\t456":                             "",
		"123456\n":                             "",
		"123\u00a0456":                         "",
		"123\u2013456":                         "",
		"12345a":                               "",
		"1e5000":                               "",
		"0x1234":                               "",
		"١٢٣٤٥٦":                               "",
		"\uff11\uff12\uff13\uff14\uff15\uff16": "",
		"123456\x00":                           "",
		strings.Repeat(" ", 1<<20):             "",
		strings.Repeat("1", 1<<20):             "",
		"123456" + strings.Repeat(" ", 40):     "",
	} {
		got, ok := Canonical(typed)
		if got != want || ok != (want != "") {
			t.Errorf("Canonical(%.20q) = %q, %v; want %q", typed, got, ok, want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"123456", "123 456", "123-456", "-123456", "\uff11\uff12\uff13\uff14\uff15\uff16", "12\t3456", "", "1234567"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := Canonical(typed)
		if !ok {
			if code != "" {
				t.Fatalf("refused %q, but returned %q", typed, code)
			}
			return
		}
		if len(code) != Length || strings.Trim(code, "0123456789") != "" {
			t.Fatalf("%q is not six digits: %q", typed, code)
		}
		if again, ok := Canonical(code); !ok || again != code {
			t.Fatalf("%q is not its own canonical spelling", code)
		}
		if strings.NewReplacer(" ", "", "-", "").Replace(typed) != code {
			t.Fatalf("%q became %q", typed, code)
		}
	})
}
