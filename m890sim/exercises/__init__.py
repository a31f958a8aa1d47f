"""Exercises: ten steps of a course, drawn for each student, and their grades. docs/exercises/."""

from m890sim.exercises.copies import canonical_digest
from m890sim.exercises.draw import student_chip
from m890sim.exercises.exercise import Assignment, Exercise
from m890sim.exercises.grading import Grade, grade
from m890sim.exercises.starting import exercise_task, start_files
from m890sim.exercises.steps import EXERCISES, get_exercise

__all__ = [
    "EXERCISES",
    "Assignment",
    "Exercise",
    "Grade",
    "canonical_digest",
    "exercise_task",
    "get_exercise",
    "grade",
    "start_files",
    "student_chip",
]
