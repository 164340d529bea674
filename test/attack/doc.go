// Package attack answers: who gets in who should not?
//
// Each test behaves like an attacker at the doors that an attacker has: pages, JSON API, bus and store. Its name says
// which rule of docs/security.md it tries to break.
package attack
