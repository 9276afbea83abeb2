-- The one of Airflow is made by the image itself.
CREATE DATABASE mlflow;
