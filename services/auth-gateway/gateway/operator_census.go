package gateway

import "context"

// People reads the accounts of a portal in the order of their addresses, behind one; an empty page is the end. last is
// the address to go on behind.
func (r *Register) People(ctx context.Context, after string, limit int64) (page []PersonRecord, last string, err error) {
	for len(page) == 0 {
		batch, err := r.office.accounts.within(ctx, span{{"portal", r.portal.ID}}, bounds{field: "email", after: after}, limit)
		if err != nil || len(batch) == 0 {
			return nil, after, err
		}
		for _, u := range batch {
			if after = u.Email; !u.Deleted {
				page = append(page, recordOf(u))
			}
		}
	}
	return page, after, nil
}

// HashUse is how many accounts still have an imported hash of one form.
type HashUse struct {
	Form     string
	Accounts int
}

// Hashes counts the imported password hashes that nobody has signed in with yet, form by form, and forgets the forms
// that nobody has any more: they cost every sign-in their time. It reads every account of the portal.
func (r *Register) Hashes(ctx context.Context) ([]HashUse, error) {
	left := make(map[string]int, len(r.portal.HashForms))
	for after := ""; ; {
		batch, err := r.office.accounts.within(ctx, span{{"portal", r.portal.ID}}, bounds{field: "email", after: after}, 500)
		if err != nil {
			return nil, err
		}
		if len(batch) == 0 {
			break
		}
		for _, u := range batch {
			if after = u.Email; u.HashForm != "" && u.Password != "" && !u.Deleted {
				left[u.HashForm]++
			}
		}
	}
	var out []HashUse
	for form := range r.portal.HashForms {
		if left[form] == 0 {
			if err := r.office.accounts.forgetForm(ctx, r.portal.ID, form); err != nil {
				return nil, err
			}
		}
		out = append(out, HashUse{form, left[form]})
	}
	return out, nil
}
