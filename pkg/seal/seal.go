// Package seal answers: how is what must stay secret kept at rest and on the bus?
//
// Each service has one key file, which names it, with two Tink keysets: "store" seals what the service keeps and belongs to it alone,
// "bus" seals the secret fields of messages and is shared by the services. A ciphertext is bound to its place by
// associated data, so that a row moved to another user, or a field moved to another message, does not open.
//
// seal.go seals and opens; file.go is the form of a key file and what is refused; keys.go follows a file that changes
// while a service runs; generate.go makes the files, rotate.go changes their keys, kms.go wraps them with a key of AWS KMS.
package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/tink"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// Box seals and opens with one keyset. Safe for concurrent use; about a microsecond per operation. Its keys may change
// under the hands of its users: what was sealed under a key that is still in the file opens.
type Box struct {
	ring atomic.Pointer[ring]
	look func() // takes in a changed file; nil where nothing is followed
}

// ring is a keyset, ready for use.
type ring struct {
	aead    tink.AEAD
	primary uint32
	ids     []uint32 // in the order in which they were made
	mac     []byte
}

// PrimaryKeyID is the id of the key that seals now; it stands in front of each ciphertext.
func (b *Box) PrimaryKeyID() uint32 { return b.ring.Load().primary }

// KeyIDs are those of all keys, in the order in which they were added: those in front of the one that seals now are old,
// one behind it will seal next.
func (b *Box) KeyIDs() []uint32 { return slices.Clone(b.ring.Load().ids) }

// Old tells whether a value was sealed under a key that came before the one that seals now, or under one that is not
// here. One that comes after it is not old: a neighbour has heard earlier that it seals now.
func (b *Box) Old(sealed []byte) bool {
	id, _ := KeyID(sealed)
	r := b.ring.Load()
	return slices.Index(r.ids, id) < slices.Index(r.ids, r.primary)
}

// KeyID is the id of the key under which a value was sealed: it stands in front of it.
func KeyID(sealed []byte) (uint32, bool) {
	if len(sealed) < 5 || sealed[0] != 1 { // Tink's first version of ciphertexts
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:5]), true
}

// ErrOpen is returned for a ciphertext that does not belong here: changed, moved, or sealed under another key.
var ErrOpen = errors.New("a sealed value does not open here")

// Seal encrypts plain so that it opens only with the same place.
func (b *Box) Seal(plain []byte, place Place) ([]byte, error) {
	out, err := b.ring.Load().aead.Encrypt(plain, place.bytes())
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return out, nil
}

// Open decrypts what was sealed for the same place, or returns [ErrOpen]. One that was sealed under a key that is not in
// memory makes the box look whether its file has changed: a neighbour may have heard of a new key earlier.
func (b *Box) Open(sealed []byte, place Place) ([]byte, error) {
	r := b.ring.Load()
	out, err := r.aead.Decrypt(sealed, place.bytes())
	if err != nil {
		if id, ok := KeyID(sealed); ok && !slices.Contains(r.ids, id) && b.look != nil {
			b.look()
			if now := b.ring.Load(); now != r {
				out, err = now.aead.Decrypt(sealed, place.bytes())
			}
		}
	}
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// Hash is a name for a value that nobody can find the value from without the key, such as a telephone number, of which
// there are too few for a plain hash. The same value has another name in another place. The key is derived (HKDF) from
// the key that seals now: after a rotation every value has a new name, so this is for what is forgotten within a day.
func (b *Box) Hash(value []byte, place Place) []byte {
	h := hmac.New(sha256.New, b.ring.Load().mac)
	h.Write(append(place, string(value)).bytes())
	return h.Sum(nil)
}

// SealField seals a secret field of a message about one person. Purpose is one of the contract's Purpose constants.
func (b *Box) SealField(plain secret.String, purpose string, who contract.Account) (contract.Sealed, error) {
	out, err := b.Seal([]byte(plain.Reveal()), Place{purpose, who.Portal, who.User})
	if err != nil {
		return "", err
	}
	return contract.Sealed(base64.RawStdEncoding.EncodeToString(out)), nil
}

// OpenField opens what [Box.SealField] sealed for the same purpose and person.
func (b *Box) OpenField(sealed contract.Sealed, purpose string, who contract.Account) (secret.String, error) {
	raw, err := base64.RawStdEncoding.DecodeString(string(sealed))
	if err != nil {
		return secret.String{}, ErrOpen
	}
	out, err := b.Open(raw, Place{purpose, who.Portal, who.User})
	if err != nil {
		return secret.String{}, err
	}
	return secret.New(string(out)), nil
}

// Place is where a sealed value belongs: for stored values portal, collection, field, user, credential. It is the
// associated data of the encryption; each part is length-prefixed, so that no two places look alike.
type Place []string

func (p Place) bytes() []byte {
	var out []byte
	for _, part := range p {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part))) //nolint:gosec // parts are short ids
		out = append(out, part...)
	}
	return out
}
