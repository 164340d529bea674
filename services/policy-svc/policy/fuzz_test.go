package policy

import (
	"encoding/csv"
	"strings"
	"testing"
)

// FuzzParseHead: a head that is taken is written as it is read, and has the form of a hash.
func FuzzParseHead(f *testing.F) {
	for _, seed := range []string{"1:" + strings.Repeat("a", 64), "12:" + strings.Repeat("AB", 32), "0:" + strings.Repeat("a", 64), "+7:" + strings.Repeat("0", 64), "1:", ":", "", "-1:00", "1:" + strings.Repeat("a", 64) + ":", "99999999999999999999:00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHead(s)
		if err != nil {
			if h != (Head{}) {
				t.Errorf("%q is refused, and read as %v", s, h)
			}
			return
		}
		if h.Seq < 1 || len(h.Hash) != 64 || strings.Trim(h.Hash, "0123456789abcdef") != "" {
			t.Errorf("%q is read as %v", s, h)
		}
		if again, err := ParseHead(h.String()); err != nil || again != h {
			t.Errorf("%q is read as %v, and that as %v, %v", s, h, again, err)
		}
	})
}

// FuzzCell: a cell of the exported log says what was written, and a spreadsheet takes none for a formula.
func FuzzCell(f *testing.F) {
	for _, seed := range []string{"", "plain", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", `=cmd|' /C calc'!A0`, "a,b\"c\nd", " =1", "\ufeff=1", "＝1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := cell(s)
		if got != s && got != "'"+s {
			t.Errorf("%q becomes %q", s, got)
		}
		if got != "" && strings.ContainsRune("=+-@\t\r", rune(got[0])) {
			t.Errorf("%q is a formula: %q", s, got)
		}
		var out strings.Builder
		w := csv.NewWriter(&out)
		if err := w.Write([]string{got, "next"}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		// The reader takes CRLF for LF, as the format has it.
		record, err := csv.NewReader(strings.NewReader(out.String())).Read()
		if err != nil || len(record) != 2 || record[0] != strings.ReplaceAll(got, "\r\n", "\n") {
			t.Errorf("%q is exported as %q, and read as %q, %v", s, out.String(), record, err)
		}
	})
}
