//! `GET` and `DELETE /api/auth/sessions`.
