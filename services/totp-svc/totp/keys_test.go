package totp

import (
	"testing"

	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
)

// B40: while keys are rotated, what was enrolled and what is being enrolled goes on, on every replica; afterwards nothing
// is under the old key, and each secret is still bound to its person.
func TestB40SecretsAreResealedWhileTheyAreInUse(t *testing.T) {
	h := newHouse(t)
	done, begun := h.person("done").enrol("en1"), h.person("begun")
	app, _, err := begun.begin("en2")
	if err != nil {
		t.Fatal(err)
	}
	was := h.Rotate(contract.TOTP)
	// Neither replica has looked at its file yet. What the gateway seals with the new key opens.
	if h.keys = h.Keys(contract.AuthGateway); h.keys.Bus.PrimaryKeyID() == h.a.svc.Keys.Bus.PrimaryKeyID() {
		t.Fatal("the replica has looked already")
	}
	if err := done.verify(done.code(done.app, 0)); err != nil {
		t.Errorf("a code in the middle of the rotation: %v", err)
	}
	h.Resealed(contract.TOTP, was)
	if _, err := begun.confirm("en2", begun.code(app, 0)); err != nil {
		t.Errorf("what was begun before the rotation: %v", err)
	}
	if err := done.verifyOn(h.b, done.code(done.app, 1)); err != nil {
		t.Errorf("a code after the rotation: %v", err)
	}
	doc, err := h.a.state.authenticator(t.Context(), documentID(done.who))
	if err != nil {
		t.Fatal(err)
	}
	box := h.Keys(contract.TOTP).Store
	if id, _ := seal.KeyID(doc.Active.Secret); id != box.PrimaryKeyID() {
		t.Errorf("it is under key %d, want %d", id, box.PrimaryKeyID())
	}
	if _, err := box.Open(doc.Active.Secret, place(begun.who, "en1")); err == nil {
		t.Error("it opens for somebody else")
	}
}
