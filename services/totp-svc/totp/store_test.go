package totp

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"sallyport/pkg/store"
)

// dump is a document as text, binary fields included.
func dump(h *house, collection, id string) string {
	h.tb.Helper()
	doc, err := store.Of[bson.M](h.a.svc.DB, collection).Get(context.Background(), id)
	if err != nil {
		h.tb.Fatal(err)
	}
	raw, err := bson.Marshal(doc)
	if err != nil {
		h.tb.Fatal(err)
	}
	return string(raw)
}

// move copies the sealed secret of one person into another's document.
func move(h *house, from, to *person) {
	h.tb.Helper()
	ok, err := h.a.state.authenticators.Update(context.Background(), documentID(to.who), store.Change{
		Update: bson.D{field("$set", bson.D{field("active.secret", from.kept().Active.Secret)})},
	})
	if err != nil || !ok {
		h.tb.Fatalf("move: %v, %v", ok, err)
	}
}

// forgive sets the count back, so that a test may try more often than a person may.
func forgive(h *house, p *person) {
	h.tb.Helper()
	if _, err := h.a.state.authenticators.Update(context.Background(), documentID(p.who), store.Change{
		Update: bson.D{field("$set", bson.D{store.ClearGuesses("guess")})},
	}); err != nil {
		h.tb.Fatal(err)
	}
}
