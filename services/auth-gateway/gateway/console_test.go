package gateway

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

func TestB39NoCellIsAFormula(t *testing.T) {
	for cell, want := range map[string]string{
		"": "", "plain": "plain", "=1+1": "'=1+1", "+49": "'+49", "-gone": "'-gone", "@SUM(A1)": "'@SUM(A1)", "\tx": "'\tx", "\r=x": "'\r=x", "a=b": "a=b",
	} {
		if got := defused(cell); got != want {
			t.Errorf("%q is %q, want %q", cell, got, want)
		}
	}
	record := auditRecord(contract.AuditEntry{Seq: 7, AuditNote: contract.AuditNote{Actor: "a", User: "=u", Reason: "=cmd|' /C calc'!A0"}}, map[string]string{"a": "@evil"})
	for _, cell := range record {
		if cell != "" && bytes.ContainsAny([]byte(cell[:1]), "=+-@") {
			t.Errorf("a cell is a formula: %q", cell)
		}
	}
}

func TestB39RowsNameWhoDidIt(t *testing.T) {
	names := map[string]string{"dana": "Dana Reyes"}
	for actor, want := range map[string]web.Named{
		"dana": {ID: "dana", Name: "Dana Reyes"}, "gone": {ID: "gone", Gone: true}, "": {}, "recovery": {Name: "A recovery code"},
		"operator": {Name: "An operator"}, "operator:root": {Name: "Operator root"},
	} {
		if got := auditRow(contract.AuditEntry{AuditNote: contract.AuditNote{Actor: actor}}, names).Actor; got != want {
			t.Errorf("%q is %+v, want %+v", actor, got, want)
		}
	}
	deleted := auditRow(contract.AuditEntry{AuditNote: contract.AuditNote{User: "x", Detail: map[string]string{"name": "Sam"}}}, names)
	if want := (web.Named{ID: "x", Name: "Sam", Gone: true}); deleted.Person != want {
		t.Errorf("%+v, want %+v", deleted.Person, want)
	}
}

// The last day that is chosen is shown whole.
func TestDays(t *testing.T) {
	day := dayOf("2026-03-31")
	if got, want := until(day), time.Date(2026, time.April, 1, 0, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("until %v, want %v", got, want)
	}
	for _, wrong := range []string{"", "31.3.2026", "2026-02-30"} {
		if d := dayOf(wrong); !d.IsZero() || !until(d).IsZero() {
			t.Errorf("%q is %v", wrong, d)
		}
	}
}

func TestTogetherReturnsTheFirstErrorInOrder(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	gate := make(chan struct{})
	err := together(func() error { <-gate; return first }, func() error { defer close(gate); return second })
	if !errors.Is(err, first) {
		t.Errorf("%v", err)
	}
	if err := together(); err != nil {
		t.Error(err)
	}
}

// What a form says of a refusal, and what has a page of its own.
func TestRefused(t *testing.T) {
	for code, form := range map[contract.Code]bool{
		contract.Conflict: true, contract.Forbidden: true, contract.InvalidCode: true, contract.Locked: true,
		contract.Unavailable: false, contract.InternalError: false, contract.Unauthenticated: false, contract.NotFound: false,
	} {
		if got := refused(contract.Refuse(code, "words")) != nil; got != form {
			t.Errorf("%s: %v, want %v", code, got, form)
		}
	}
	if refused(errors.New("the store is down")) != nil {
		t.Error("an unknown error is said on a form")
	}
}
