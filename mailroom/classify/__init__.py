"""Email text → candidates → scores → one Prediction."""
