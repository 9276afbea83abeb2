"""Batch fine-tuning of LLMs on Apache Airflow. The flow is in docs/design.md."""

__version__ = "0.1.0"
